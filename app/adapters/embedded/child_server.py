"""A server that is a child of this process: started whole or not at all, and stopped in order."""

import signal
import subprocess
from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.adapters.embedded.errors import ServerStartFailed
from app.adapters.embedded.processes import stop_child
from app.adapters.embedded.sockets import remove_socket_directory

_STOP_TIMEOUT: Final = timedelta(seconds=60)


class ChildServer(ABC):
    """Owned by whoever calls `start` and `stop`."""

    def __init__(self, name: str, *, stop_signal: signal.Signals, force_signal: signal.Signals) -> None:
        self._name = name
        self._stop_signal = stop_signal
        self._force_signal = force_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_directory: Path | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start, recover what is there (or create it), and return when the server answers."""
        if self._process is not None:
            return
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise ServerStartFailed(self._name, str(error)) from error
        except BaseException:  # Ctrl-C too: a start that is not finished leaves no server behind
            self.stop()
            raise

    @abstractmethod
    def _start(self) -> None:
        """Sets the process as soon as there is one, and the directory of its socket."""

    def stop(self) -> None:
        """End the sessions, write everything out and stop; nothing if not started."""
        if self._process is not None:
            stop_child(
                self._process,
                stop_signal=self._stop_signal,
                force_signal=self._force_signal,
                timeout=_STOP_TIMEOUT,
            )
            self._process = None
        if self._socket_directory is not None:
            remove_socket_directory(self._socket_directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
