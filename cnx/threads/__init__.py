"""Start threads; locks, conditions and clean-up that survive Ctrl-C and fork. The rest of cnx uses no others."""
