"""Webhook endpoints: where a tenant wants its events sent, and what was sent there."""

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.domain.errors import Conflict, InvalidInput, VersionMoved
from app.domain.identifiers import EndpointId, PortfolioId, TenantId
from app.domain.times import rfc3339
from app.ports.management import UnitOfWork
from app.ports.webhooks import Endpoint, EndpointTerms, LoggedDelivery, Recovered

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - the visible part of every signing secret
TEST_EVENT = "webhook.test"
RECOVERED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Reach:
    """Where webhooks may go, as far as a URL tells; the address is judged when it is dialled.

    With networks of its own opened by the operator, a URL may lead into them: by http, and on any port.
    """

    ports: Collection[int] = (443, 8443)
    opened: bool = False


async def create_endpoint(
    unit: UnitOfWork,
    tenant_id: TenantId,
    endpoint_id: EndpointId,
    terms: EndpointTerms,
    *,
    secret: bytes,
    reach: Reach,
) -> tuple[Endpoint, str]:
    """The endpoint and its signing secret in the form of Standard Webhooks."""
    check_url(terms.url, reach)
    await _check_portfolios(unit, tenant_id, terms.portfolios)
    return await unit.webhooks.add(tenant_id, endpoint_id, terms, secret), shown_secret(secret)


async def change_endpoint(
    unit: UnitOfWork,
    tenant_id: TenantId,
    endpoint_id: EndpointId,
    terms: EndpointTerms,
    *,
    reach: Reach,
) -> Endpoint:
    """Whoever changes it holds its lock, and has seen its version. What stays is not looked at again."""
    before = (await unit.webhooks.get(tenant_id, endpoint_id)).terms
    if terms.url != before.url:
        check_url(terms.url, reach)
    await _check_portfolios(unit, tenant_id, set(terms.portfolios) - set(before.portfolios))
    return await unit.webhooks.replace(tenant_id, endpoint_id, terms)


async def seen_endpoint(
    unit: UnitOfWork, tenant_id: TenantId, endpoint_id: EndpointId, expected_version: int | None
) -> Endpoint:
    """Locked, in the version that the caller saw; None: any."""
    endpoint = await unit.webhooks.lock(tenant_id, endpoint_id)
    if expected_version not in (None, endpoint.version):
        raise VersionMoved(f"the endpoint is at version {endpoint.version} now; read it again")
    return endpoint


async def rotate_secret(
    unit: UnitOfWork, tenant_id: TenantId, endpoint_id: EndpointId, *, secret: bytes, overlap: timedelta
) -> tuple[Endpoint, str]:
    """The old secret signs too, until the overlap ends."""
    return await unit.webhooks.rotate(tenant_id, endpoint_id, secret, overlap), shown_secret(secret)


async def send_test(
    unit: UnitOfWork, tenant_id: TenantId, endpoint_id: EndpointId, *, event_id: str, time_ns: int
) -> LoggedDelivery:
    """Of a type of its own, so that no receiver takes it for something that happened."""
    await _enabled(unit, tenant_id, endpoint_id)
    event = {
        "id": event_id,
        "type": TEST_EVENT,
        "version": 1,
        "portfolio_id": None,
        "sequence": None,
        "previous_sequence": None,
        "time": rfc3339(time_ns),
        "data": {"endpoint_id": str(endpoint_id)},
    }
    return await unit.deliveries.add_test(endpoint_id, event)


async def resend(
    unit: UnitOfWork, tenant_id: TenantId, endpoint_id: EndpointId, delivery_id: int
) -> LoggedDelivery:
    await _enabled(unit, tenant_id, endpoint_id)
    return await unit.deliveries.resend(endpoint_id, delivery_id)


async def recover(
    unit: UnitOfWork,
    tenant_id: TenantId,
    endpoint_id: EndpointId,
    *,
    since: datetime,
    until: datetime,
    known_since: datetime,
) -> Recovered:
    """Deliveries are known since then: what arrived before is forgotten, and would be sent once more."""
    if since >= until:
        raise InvalidInput("since lies before until", path="/since")
    if since < known_since:
        raise InvalidInput(f"what was delivered before {known_since:%FT%TZ} is not known", path="/since")
    await _enabled(unit, tenant_id, endpoint_id)
    return await unit.deliveries.recover(endpoint_id, since=since, until=until, limit=RECOVERED_AT_ONCE)


def shown_secret(secret: bytes) -> str:
    return SECRET_PREFIX + b64encode(secret).decode()


def check_url(url: str, reach: Reach) -> None:
    """Its form only: the address that is dialled is judged when it is dialled."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"not a URL: {error}", path="/url") from error
    schemes = ("http", "https") if reach.opened else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InvalidInput(f"an {wanted} URL with a host is needed", path="/url")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("a URL is printable ASCII without spaces", path="/url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("no user or password in the URL: deliveries are signed instead", path="/url")
    if parts.fragment:
        raise InvalidInput("a fragment (#…) is never sent; leave it out", path="/url")
    if not reach.opened and (port or 443) not in reach.ports:
        listed = ", ".join(map(str, sorted(reach.ports)))
        raise InvalidInput(f"webhooks are sent to the ports {listed} only", path="/url")


async def _check_portfolios(
    unit: UnitOfWork, tenant_id: TenantId, portfolios: Collection[PortfolioId]
) -> None:
    if unknown := await unit.webhooks.unknown(tenant_id, portfolios):
        raise InvalidInput(f"no portfolio {min(unknown)}", path="/portfolios")


async def _enabled(unit: UnitOfWork, tenant_id: TenantId, endpoint_id: EndpointId) -> None:
    endpoint = await unit.webhooks.get(tenant_id, endpoint_id)
    if not endpoint.enabled:
        raise Conflict("nothing is sent to a disabled endpoint; enable it first")
