"""Locks, conditions and clean-up that survive Ctrl-C and fork."""
