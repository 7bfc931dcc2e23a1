"""Ballast measured beside its floors: `python -m bench --help`."""
