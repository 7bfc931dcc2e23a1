"""API keys: made, listed, revoked. The whole key exists only in the answer to its creation."""

from base64 import urlsafe_b64encode
from collections.abc import Collection

from app.domain.identifiers import ApiKeyId, TenantId, derived_id
from app.ports.management import ApiKey, Scope, UnitOfWork
from app.services.authenticate import TOKEN_PREFIX, digest_of

SECRET_BYTES = 32
_SHOWN_CHARACTERS = 12


def tenant_id_of(name: str) -> TenantId:
    return TenantId(derived_id("tenant", name))


async def ensure_tenant(unit: UnitOfWork, name: str) -> TenantId:
    """The tenant of that name, created when there is none."""
    tenant_id = tenant_id_of(name)
    await unit.keys.ensure_tenant(tenant_id, name)
    return tenant_id


async def create_key(
    unit: UnitOfWork,
    *,
    tenant_id: TenantId,
    key_id: ApiKeyId,
    name: str,
    scopes: Collection[Scope],
    secret: bytes,
) -> tuple[ApiKey, str]:
    """The stored key and the token to hand out; `secret` is SECRET_BYTES of fresh randomness."""
    token = TOKEN_PREFIX + urlsafe_b64encode(secret).rstrip(b"=").decode()
    ordered = [scope for scope in Scope if scope in scopes]
    key = await unit.keys.add(
        tenant_id,
        key_id,
        name=name,
        digest=digest_of(token),
        prefix=token[:_SHOWN_CHARACTERS],
        scopes=ordered,
    )
    return key, token
