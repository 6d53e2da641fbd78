"""Parsers fed with anything: by hypothesis in the suite, and coverage-guided by hand: ``python -m tests.fuzz NAME``."""
