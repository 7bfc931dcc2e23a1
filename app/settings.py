"""What an operator may set, by environment. Only bootstrap reads it; everything else gets plain arguments."""

from ipaddress import ip_network
from pathlib import Path
from socket import gethostname
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.errors import ConfigurationError


class Settings(BaseSettings):
    """Variables are named `BALLAST_…`. Without database and Redis addresses, embedded servers are used."""

    model_config = SettingsConfigDict(env_prefix="BALLAST_", extra="ignore")

    database_url: str | None = None
    redis_url: str | None = None
    data_dir: Path = Path(".ballast/data")
    instance: Annotated[str, Field(min_length=1, max_length=64)] = Field(default_factory=gethostname)
    clock: Literal["live", "replay"] = "live"
    shards: Annotated[int, Field(ge=1, le=1024)] = 4
    webhook_allowed_networks: Annotated[tuple[str, ...], NoDecode] = ()
    stream_allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    webhook_ports: Annotated[tuple[int, ...], NoDecode] = (443, 8443)
    webhook_proxy: SecretStr | None = None
    webhook_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    smtp_url: SecretStr | None = None
    smtp_sender: str = "ballast@localhost"
    operator_email: str | None = None
    feed_url: str | None = None
    feed_token: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("webhook_allowed_networks", "webhook_ports", "stream_allowed_origins", mode="before")
    @classmethod
    def _separated_by_commas(cls, given: object) -> object:
        return tuple(filter(None, given.replace(" ", "").split(","))) if isinstance(given, str) else given

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for network in given:
            ip_network(network)
        return given

    @field_validator("webhook_proxy")
    @classmethod
    def _is_a_proxy(cls, given: SecretStr | None) -> SecretStr | None:
        """What is none would be dialled past, or blamed on receivers. Its password is not repeated."""
        if given is None or not given.get_secret_value():
            return None
        try:
            parts = urlsplit(given.get_secret_value())
            proper = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            proper = False
        if not proper:
            raise ValueError("http://host:port is needed")
        return given


def load_settings() -> Settings:
    """ConfigurationError names the variable and what is wrong with it."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "BALLAST_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}") from None
