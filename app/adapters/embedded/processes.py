"""Server processes that outlive the terminal: started, watched and stopped by their id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from app.adapters.embedded import leash

_POLL_SECONDS = 0.01
_LOG_TAIL_LINES = 15


def leashed(command: Sequence[str], end_signal: signal.Signals) -> list[str]:
    """The same command, which is sent the signal should this process end before it, however it ends."""
    script = str(leash.__file__)
    return [sys.executable, "-I", "-S", script, str(int(end_signal)), str(os.getpid()), *command]


def start_detached(
    command: Sequence[str], *, log_path: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, out of reach of the terminal's Ctrl-C.

    Its output is added to `log_path`.
    """
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - the command is built by this package
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",  # the caller's directory may be closed to the server's user, or removed while it runs
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(log)


def set_aside(log_path: Path) -> None:
    """Keep the log of one run, so that logs neither vanish with a crash nor grow for ever."""
    if log_path.exists():
        log_path.replace(log_path.with_suffix(".previous.log"))


def wait_until(condition: Callable[[], bool], *, timeout: timedelta) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + timeout.total_seconds()
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def working_directory(pid: int) -> Path | None:
    """Where a process works; none if it has ended or belongs to somebody else.

    Ids are reused (after a reboot above all), so a pid file alone proves nothing: a server is known by its
    id and by working in its data directory.
    """
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    if Path("/proc/self").exists():
        return None
    listing = subprocess.run(  # noqa: S603 - macOS, which has no /proc
        ["/usr/sbin/lsof", "-a", "-d", "cwd", "-p", str(pid), "-Fn"],
        capture_output=True,
        text=True,
        check=False,
    )
    names = [line[1:] for line in listing.stdout.splitlines() if line.startswith("n")]
    return Path(names[0]) if names else None


def read_pid(pid_file: Path) -> int | None:
    """The process id on the first line of a pid file, if there is one."""
    with suppress(FileNotFoundError):
        first_line = pid_file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
        if first_line.isdigit():
            return int(first_line)
    return None


def stop_leftover(
    pid_file: Path, *, directory: Path, stop_signal: signal.Signals, timeout: timedelta
) -> bool:
    """Stop the server whose owner was killed, if one still works in `directory`; whether none does now."""
    pid = read_pid(pid_file)
    if pid is None:
        return True
    home = directory.resolve()
    found = working_directory(pid)
    if found == home:
        os.kill(pid, stop_signal)
        return wait_until(lambda: working_directory(pid) != home, timeout=timeout)
    if found is not None:
        pid_file.unlink()  # the id now belongs to a stranger, whom the server would take for its twin
    return True


def stop_child(
    process: subprocess.Popen[bytes],
    *,
    stop_signal: signal.Signals,
    force_signal: signal.Signals,
    timeout: timedelta,
) -> None:
    """Ask a child to end; past the deadline make it, and wait for that."""
    process.send_signal(stop_signal)
    try:
        process.wait(timeout.total_seconds())
    except subprocess.TimeoutExpired:
        process.send_signal(force_signal)
        process.wait()


def log_tail(log_path: Path) -> str:
    """The last lines of a server's log, for the message of an error."""
    with suppress(OSError):
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])
    return ""
