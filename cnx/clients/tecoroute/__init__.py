"""Tecomat PLCs through the TecoRoute service."""
