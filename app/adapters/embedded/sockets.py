"""Where a server's unix socket lives: in its own directory, unless that path is too long or too odd."""

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from app.adapters.embedded.errors import EmbeddedServerError

_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")  # needs no quoting in a URL, nor in a list of hosts


def socket_directory(home: Path, *, longest_name: str, owner_uid: int) -> Path:
    """A private directory for the socket of the server that lives in `home` (created if absent)."""
    preferred = home / "socket"
    longest = str(preferred / longest_name)
    fits = len(os.fsencode(longest)) <= _LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(longest)
    directory = preferred if fits else _short_directory(home)
    directory.mkdir(mode=0o700, exist_ok=True)
    # In a shared temporary directory somebody else may have been there first.
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner_uid}:
        raise EmbeddedServerError(f"{directory} belongs to somebody else: remove it, or set TMPDIR")
    directory.chmod(0o700)
    if found.st_uid != owner_uid:
        os.chown(directory, owner_uid, -1)
    return directory


def remove_socket_directory(directory: Path) -> None:
    """Leave nothing in the temporary directory after a stop; what still holds a socket stays."""
    with suppress(OSError):
        directory.rmdir()


def _short_directory(home: Path) -> Path:
    """The same for the same data directory, so that a later start finds it again."""
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - ownership is checked by the caller
        if len(os.fsencode(parent)) < _LONGEST_SOCKET_PATH // 2 and _PLAIN_PATH.fullmatch(parent):
            break
    return Path(parent) / f"ballast-{digest}"
