"""`python -m app.entrypoints.cli`."""

from app.entrypoints.cli import main

main()
