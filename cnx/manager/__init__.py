"""Keeping a connection up."""
