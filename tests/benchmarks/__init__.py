"""Benchmarks: almost every figure is a ratio to a bare loop measured in the same run.

``python -m tests.benchmarks [NAME ...] [--json FILE]``
"""
