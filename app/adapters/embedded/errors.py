"""What can go wrong with the servers that Ballast carries with it."""

from pathlib import Path

from app.domain.errors import ConfigurationError


class EmbeddedServerError(ConfigurationError):
    """An embedded PostgreSQL or Redis cannot do what was asked."""


class ServerBinaryMissing(EmbeddedServerError):
    """No server for this platform, neither in the wheels nor on the PATH."""


class ServerStartFailed(EmbeddedServerError):
    """The server did not become ready; the message ends with what it logged last."""

    def __init__(self, server: str, reason: str, *, log_tail: str = "") -> None:
        super().__init__(f"{server} did not start: {reason}" + (f"\n{log_tail}" if log_tail else ""))


class DataDirectoryInUse(EmbeddedServerError):
    """Another process owns the servers on this data directory."""

    def __init__(self, data_dir: Path, owner_pid: int | None) -> None:
        owner = "another process" if owner_pid is None else f"process {owner_pid}"
        super().__init__(
            f"the data directory {data_dir} is in use by {owner}: stop it, or choose another directory"
        )
        self.data_dir = data_dir
        self.owner_pid = owner_pid
