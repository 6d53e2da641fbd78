"""Benchmarks: every figure is a ratio to a bare loop that is measured in the same run.

``python -m tests.benchmarks [NAME ...] [--json FILE] [--svg FILE]``
"""
