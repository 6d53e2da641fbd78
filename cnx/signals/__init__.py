"""The one door to PyDispatcher: subscribing and emitting."""
