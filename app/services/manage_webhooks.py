"""Webhook endpoints: where a tenant wants its events sent."""

from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.domain.errors import InvalidInput
from app.domain.events import EventType
from app.domain.identifiers import EndpointId, TenantId
from app.ports.management import Endpoint, UnitOfWork

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - the visible part of every signing secret


async def create_endpoint(
    unit: UnitOfWork,
    tenant_id: TenantId,
    endpoint_id: EndpointId,
    *,
    url: str,
    description: str,
    event_types: Sequence[EventType],
    secret: bytes,
) -> tuple[Endpoint, str]:
    """The endpoint and its signing secret in the form of Standard Webhooks."""
    check_url(url)
    endpoint = await unit.webhooks.add(
        tenant_id,
        endpoint_id,
        url=url,
        description=description,
        event_types=sorted({type_.value for type_ in event_types}),
        secret=secret,
    )
    return endpoint, SECRET_PREFIX + b64encode(secret).decode()


def check_url(url: str) -> None:
    """Its form only: the address that is dialled is judged when it is dialled."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidInput(f"not a URL: {error}", path="/url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("an http:// or https:// URL with a host is needed", path="/url")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("a URL is printable ASCII without spaces", path="/url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("no user or password in the URL: deliveries are signed instead", path="/url")
    if parts.fragment:
        raise InvalidInput("a fragment (#…) is never sent; leave it out", path="/url")
