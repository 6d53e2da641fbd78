"""The client of TecoRoute."""
