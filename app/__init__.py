"""Ballast keeps leveraged crypto portfolios upright. Start reading at `app/entrypoints/oracle.py`."""

__version__ = "0.1.0"
