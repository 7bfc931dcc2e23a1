"""Writes the next revision: what `tables/` has and the revisions so far do not (`make migration NAME=…`).

A draft to read and correct: Alembic sees neither renames nor data.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from app.adapters.embedded import EmbeddedPostgres
from app.adapters.postgres.migrate import MIGRATIONS, run_alembic, upgrade


async def write_draft(message: str) -> Path:
    versions = MIGRATIONS / "versions"
    number = f"{len(list(versions.glob('*.py'))) + 1:04}"

    def revise(config: Config) -> None:
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        command.revision(config, message=message, autogenerate=True, rev_id=number)

    with (
        tempfile.TemporaryDirectory(prefix="ballast-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        await upgrade(server.dsn)
        await run_alembic(server.dsn, revise)
    (written,) = versions.glob(f"{number}_*.py")
    return written


def tidy(written: Path) -> None:
    draft = written.read_text(encoding="utf-8").replace(", unique=False", "")
    kept = (line for line in draft.splitlines() if "# ###" not in line)
    written.write_text("\n".join(kept) + "\n", encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    for action in (["check", "--fix", "--ignore=E501"], ["format"]):
        subprocess.run([ruff, *action, "--quiet", written], check=True)  # noqa: S603 - our own file


if __name__ == "__main__":
    match sys.argv[1:]:
        case [message] if message:
            revision = asyncio.run(write_draft(message))
            tidy(revision)
            print(revision.relative_to(Path.cwd()))  # noqa: T201 - what it made
        case _:
            sys.exit("say what changes: make migration NAME='a short sentence'")
