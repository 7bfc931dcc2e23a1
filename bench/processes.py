"""Child processes: started, listened to, their memory read, ended by their own id."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 20.0


class Child:
    """`python -m MODULE ARGUMENTS…`, with its standard output on a pipe."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        python: Path = Path(sys.executable),
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        self.name = " ".join((module, *arguments[:1]))
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def line(self) -> str:
        """The next line it prints; an error when it ended instead."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline().decode().strip()
        if not text:
            raise RuntimeError(f"{self.name} ended with status {self._process.wait()} and said nothing")
        return text

    def output(self, *, timeout_seconds: float) -> str:
        """All that it prints until it ends by itself."""
        printed, _ = self._process.communicate(timeout=timeout_seconds)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with status {self._process.returncode}")
        return printed.decode()

    def peak_memory_mib(self) -> float:
        """While it runs: the kernel's figure at exit would include its parent's, from before the exec."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024

    def memory_kib(self) -> int:
        """Resident now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1024

    def stop(self) -> None:
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def children(*started: Child) -> Iterator[None]:
    """Stops them all, whatever happens."""
    try:
        yield
    finally:
        for child in reversed(started):
            child.stop()
