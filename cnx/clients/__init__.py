"""Clients of real systems, each with a simulator of the system."""
