"""Identifiers. UUIDs for what tenants create, readable text for what the world already names."""

import hashlib
from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
PortfolioId = NewType("PortfolioId", UUID)
AccountId = NewType("AccountId", UUID)
PolicyId = NewType("PolicyId", UUID)
OperatorPolicyId = NewType("OperatorPolicyId", UUID)
AdjustmentId = NewType("AdjustmentId", UUID)
DecisionId = NewType("DecisionId", UUID)
FillId = NewType("FillId", UUID)
EndpointId = NewType("EndpointId", UUID)
InstrumentId = NewType("InstrumentId", str)
Asset = NewType("Asset", str)
ShardId = NewType("ShardId", int)


def derived_id(*parts: object) -> UUID:
    """A UUID (version 8) that is a function of its parts, so that doing it again changes nothing."""
    digest = bytearray(hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest())
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(digest))


def shard_of(portfolio_id: UUID, shards: int) -> ShardId:
    """The shard a portfolio belongs to: stable for its life."""
    return ShardId(int.from_bytes(portfolio_id.bytes[:8], "big") % shards)
