"""The one command, `ballast`. Every subcommand translates its arguments and calls a service."""

import sys

import typer

from app.domain.errors import BallastError

MISTAKE = 2


def main() -> None:
    """A mistake gets one clear line and exit code 2, never a traceback."""
    from app.entrypoints.cli.commands import application

    try:
        application()
    except BallastError as error:
        typer.echo(f"ballast: {' '.join(str(error).split())}", err=True)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        sys.exit(130)
