"""The protocol of M2, without input and output."""
