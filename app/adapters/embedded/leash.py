"""Run a command that ends when its owner does: `python leash.py SIGNAL OWNER COMMAND…`, started by OWNER.

The kernel sends the signal however the owner ends, by SIGKILL too; to the kernel the owner is the thread that
started the command. Only Linux can: elsewhere the command runs without a leash.

A script of its own because this must be asked for between fork and exec, with no threads around, and after a
change of user, which would undo it.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    end_signal, owner = int(arguments[0]), int(arguments[1])
    command = arguments[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, end_signal, 0, 0, 0)
        if os.getppid() != owner:
            sys.exit(f"process {owner} ended before it could hold the leash")
    os.execv(command[0], command)  # noqa: S606 - the command is built by the owner


if __name__ == "__main__":
    main(sys.argv[1:])
