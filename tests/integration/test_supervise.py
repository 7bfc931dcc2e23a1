"""The supervisor killed with SIGKILL: its roles do not run on without it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from app.adapters.embedded.processes import working_directory
from app.bootstrap import migrate
from app.settings import Settings
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
ROLES = ("oracle", "evaluator", "executor", "courier")
HELD = "SELECT count(owner) + (SELECT count(oracle_owner) FROM markets) FROM shards"
SUPERVISOR = """
import asyncio, sys
from app.entrypoints.cli.supervise import Part, Supervisor

class Telling(Supervisor):
    async def _start(self, part):
        process = await super()._start(part)
        print(process.pid, flush=True)
        return process

wanted = [Part(name, [name]) for name in sys.argv[1:]]
asyncio.run(Telling({}).run(wanted, asyncio.Event()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its owner has ended")
async def test_roles_stop_in_order_when_their_supervisor_is_killed(
    database_url, redis_url, asyncpg_pool, tmp_path
):
    await migrate(Settings(database_url=database_url, redis_url=redis_url))
    log_path = tmp_path / "roles.log"
    with log_path.open("wb") as log:
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SUPERVISOR, *ROLES, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log,
            env={**os.environ, "BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url},
        )  # fmt: skip

    def all_have_started() -> bool:
        said = log_path.read_text(encoding="utf-8")
        return all(f'"event": "{name}_started"' in said for name in ROLES)

    try:
        pids = [int(await asyncio.wait_for(supervisor.stdout.readline(), 20)) for _ in ROLES]
        await eventually(all_have_started, timeout=30)
        await eventually(lambda: asyncpg_pool.fetchval(HELD))
    finally:
        supervisor.kill()
        await supervisor.wait()
    await eventually(lambda: all(working_directory(pid) is None for pid in pids), timeout=20)
    assert not await asyncpg_pool.fetchval(HELD)
