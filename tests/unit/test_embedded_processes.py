"""Stopping processes and finding room for sockets, without any server."""

import os
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from app.adapters.embedded.errors import EmbeddedServerError
from app.adapters.embedded.processes import read_pid, stop_child, wait_until, working_directory
from app.adapters.embedded.sockets import socket_directory


def test_a_process_that_will_not_end_is_made_to() -> None:
    stubborn = ["/bin/sh", "-c", "trap '' TERM; echo ready; read forever"]
    with subprocess.Popen(stubborn, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        stop_child(
            process,
            stop_signal=signal.SIGTERM,
            force_signal=signal.SIGKILL,
            timeout=timedelta(milliseconds=50),
        )
        assert process.returncode == -signal.SIGKILL


def test_waiting_ends_at_the_deadline() -> None:
    assert not wait_until(lambda: False, timeout=timedelta(milliseconds=20))
    assert wait_until(lambda: True, timeout=timedelta(0))


def test_a_process_is_known_by_where_it_works_until_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/cat"], cwd=tmp_path, stdin=subprocess.PIPE) as process:
        assert working_directory(process.pid) == tmp_path.resolve()
        process.kill()  # and not reaped yet: a zombie works nowhere
        assert wait_until(lambda: working_directory(process.pid) is None, timeout=timedelta(seconds=10))


@pytest.mark.parametrize(("content", "pid"), [("12\nmore\n", 12), ("", None), ("-3\n", None), ("x", None)])
def test_a_pid_file_holds_a_pid_or_nothing(tmp_path: Path, content: str, pid: int | None) -> None:
    (tmp_path / "pid").write_text(content)
    assert read_pid(tmp_path / "pid") == pid
    assert read_pid(tmp_path / "absent") is None


def test_a_socket_lives_with_its_data_where_the_path_allows(tmp_path: Path) -> None:
    assert socket_directory(tmp_path, longest_name="s", owner_uid=os.geteuid()) == tmp_path / "socket"


@pytest.mark.parametrize("name", ["d" * 120, "with space", "a,b", "größe"])
def test_a_socket_moves_to_a_short_plain_private_place_otherwise(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    directory = socket_directory(home, longest_name="s.sock", owner_uid=os.geteuid())
    try:
        assert len(str(directory)) < 90
        assert str(directory).isascii()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert socket_directory(home, longest_name="s.sock", owner_uid=os.geteuid()) == directory
    finally:
        directory.rmdir()


def test_a_socket_does_not_move_in_with_a_stranger(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "socket").symlink_to(elsewhere)
    with pytest.raises(EmbeddedServerError, match="belongs to somebody else"):
        socket_directory(tmp_path, longest_name="s.sock", owner_uid=os.geteuid())
