"""`ballast`, also where the package is not installed: `python -m bench.drivers.ballast_command …`."""

from app.entrypoints.cli import main

if __name__ == "__main__":
    main()
