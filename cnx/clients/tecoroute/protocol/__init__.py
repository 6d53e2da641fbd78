"""The protocol of TecoRoute, without input and output."""
