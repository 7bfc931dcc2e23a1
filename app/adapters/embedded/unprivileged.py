"""Run a command as another user: `python unprivileged.py UID GID PATH… -- COMMAND…`, started by root.

PostgreSQL refuses to run as root. Its new user must reach its programs and its data even where they lie
below a closed directory (/root, a private temporary directory). Opening those to everybody would change the
machine for good, and adding a user would too. So the process keeps one capability instead, and only if it
needs it: reading past directory permissions. What it may write stays what its user owns.

A script of its own because capabilities must be set between setuid and exec, with no threads around.
"""

import ctypes
import os
import sys
from pathlib import Path

# linux/prctl.h, linux/capability.h
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1  # wider; what container engines grant where they do not grant the other


def main(arguments: list[str]) -> None:
    separator = arguments.index("--")
    uid, gid = int(arguments[0]), int(arguments[1])
    paths, command = arguments[2:separator], arguments[separator + 1 :]
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if linux:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not all(_reachable(Path(path)) for path in paths) and not (linux and _keep_reading_capability(libc)):
        closed = ", ".join(path for path in paths if not _reachable(Path(path)))
        sys.exit(f"user {uid} cannot reach {closed}: choose a data directory below open directories")
    os.execv(command[0], command)  # noqa: S606 - the command is built by this package


def _reachable(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return False
    return True


def _keep_reading_capability(libc: ctypes.CDLL) -> bool:
    """Keep the narrowest capability that will do, across exec."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        mask = 1 << capability
        effective_permitted_inheritable = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if libc.capset(header, effective_permitted_inheritable) == 0:
            return bool(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
