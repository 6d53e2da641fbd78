"""Connections to real things that stay up: threads, signals, recovery."""
