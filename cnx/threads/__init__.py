"""Locks, conditions and clean-up that survive Ctrl-C and fork; the rest of cnx uses no others."""
