"""The client of M2."""
