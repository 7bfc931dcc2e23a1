"""Portfolios between rows and the domain, in bulk, on a raw asyncpg connection."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from app.adapters.postgres.adjustment_rows import remaining_of
from app.domain.adjustments import OPEN_STATES, AdjustmentState, InFlight
from app.domain.errors import NotFound, RevisionMoved
from app.domain.identifiers import Asset, PortfolioId
from app.domain.policies import POLICY, StoredPolicy
from app.domain.portfolios import (
    Account,
    Balance,
    MarginMode,
    Portfolio,
    PortfolioState,
    Position,
    Reserve,
)

T = TypeVar("T")
_Row = tuple[object, ...]

_PORTFOLIOS = """
SELECT id, tenant_id, name, valuation_currency, state, revision
FROM portfolios WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL
"""
_ACCOUNTS = """
SELECT id, portfolio_id, name, venue, margin_mode
FROM accounts WHERE portfolio_id = ANY($1::uuid[]) ORDER BY portfolio_id, ordinal
"""
_POSITIONS = """
SELECT p.account_id, p.instrument_id, p.quantity, p.entry_price, p.accrued_ns
FROM positions p JOIN accounts a ON a.id = p.account_id
WHERE a.portfolio_id = ANY($1::uuid[]) ORDER BY p.account_id, p.ordinal
"""
_BALANCES = """
SELECT b.account_id, b.asset, b.amount, b.haircut
FROM balances b JOIN accounts a ON a.id = b.account_id
WHERE a.portfolio_id = ANY($1::uuid[]) ORDER BY b.account_id, b.ordinal
"""
_RESERVES = """
SELECT portfolio_id, asset, amount, keep
FROM reserves WHERE portfolio_id = ANY($1::uuid[]) ORDER BY portfolio_id, ordinal
"""
_POLICIES = """
SELECT id, portfolio_id, version, document, operator_policy_id IS NOT NULL AS operator
FROM policies WHERE portfolio_id = ANY($1::uuid[]) AND enabled AND deleted_at IS NULL
ORDER BY portfolio_id, ordinal, id
"""
_OPEN = f"""
SELECT id, portfolio_id, policy_id, state, expires_at_ns, remaining, policies
FROM adjustments
WHERE portfolio_id = ANY($1::uuid[]) AND state IN ({", ".join(f"'{s}'" for s in sorted(OPEN_STATES))})
ORDER BY portfolio_id, generation, sequence, id
"""  # noqa: S608 - the states are constants of the domain

_PUT_POSITIONS = """
INSERT INTO positions (account_id, instrument_id, ordinal, quantity, entry_price, accrued_ns)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::numeric[], $5::numeric[], $6::bigint[])
ON CONFLICT (account_id, instrument_id) DO UPDATE SET ordinal = EXCLUDED.ordinal,
    quantity = EXCLUDED.quantity, entry_price = EXCLUDED.entry_price, accrued_ns = EXCLUDED.accrued_ns
"""
_PUT_BALANCES = """
INSERT INTO balances (account_id, asset, ordinal, amount, haircut)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::numeric[], $5::numeric[])
ON CONFLICT (account_id, asset) DO UPDATE SET ordinal = EXCLUDED.ordinal,
    amount = EXCLUDED.amount, haircut = EXCLUDED.haircut
"""
_PUT_RESERVES = """
INSERT INTO reserves (portfolio_id, asset, ordinal, amount, keep)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::numeric[], $5::numeric[])
ON CONFLICT (portfolio_id, asset) DO UPDATE SET ordinal = EXCLUDED.ordinal,
    amount = EXCLUDED.amount, keep = EXCLUDED.keep
"""
_DROP_POSITIONS = """
DELETE FROM positions p USING unnest($1::uuid[], $2::text[]) AS gone(account_id, instrument_id)
WHERE p.account_id = gone.account_id AND p.instrument_id = gone.instrument_id
"""
_DROP_BALANCES = """
DELETE FROM balances b USING unnest($1::uuid[], $2::text[]) AS gone(account_id, asset)
WHERE b.account_id = gone.account_id AND b.asset = gone.asset
"""
_DROP_RESERVES = """
DELETE FROM reserves r USING unnest($1::uuid[], $2::text[]) AS gone(portfolio_id, asset)
WHERE r.portfolio_id = gone.portfolio_id AND r.asset = gone.asset
"""


async def load_portfolios(connection: Any, ids: Sequence[PortfolioId]) -> list[Portfolio]:
    """In the order of `ids`; deleted and unknown ones are left out.

    Read in one repeatable snapshot when the caller's transaction gives one; otherwise the revision is
    read first, so that whatever changes while the rest is read makes the revision old, never too new.
    """
    keys = list(ids)
    heads = {row["id"]: row for row in await connection.fetch(_PORTFOLIOS, keys)}
    accounts = await connection.fetch(_ACCOUNTS, keys)
    positions = _grouped(await connection.fetch(_POSITIONS, keys), "account_id", _position)
    balances = _grouped(await connection.fetch(_BALANCES, keys), "account_id", _balance)
    reserves = _grouped(await connection.fetch(_RESERVES, keys), "portfolio_id", _reserve)
    policies = _grouped(await connection.fetch(_POLICIES, keys), "portfolio_id", _policy)
    in_flight = _grouped(await connection.fetch(_OPEN, keys), "portfolio_id", _in_flight)

    def account(row: Any) -> Account:
        return Account(
            id=row["id"],
            name=row["name"],
            venue=row["venue"],
            margin_mode=MarginMode(row["margin_mode"]),
            positions=positions[row["id"]],
            balances=balances[row["id"]],
        )

    members = _grouped(accounts, "portfolio_id", account)
    return [
        Portfolio(
            id=key,
            tenant_id=head["tenant_id"],
            name=head["name"],
            valuation_currency=Asset(head["valuation_currency"]),
            state=PortfolioState(head["state"]),
            revision=head["revision"],
            accounts=members[key],
            reserves=reserves[key],
            policies=policies[key],
            in_flight=in_flight[key],
        )
        for key in keys
        if (head := heads.get(key)) is not None
    ]


def _grouped(rows: Iterable[Any], key: str, build: Callable[[Any], T]) -> defaultdict[UUID, tuple[T, ...]]:
    groups: dict[UUID, list[T]] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(build(row))
    return defaultdict(tuple, {k: tuple(v) for k, v in groups.items()})


def _position(row: Any) -> Position:
    return Position(row["instrument_id"], row["quantity"], row["entry_price"], row["accrued_ns"])


def _balance(row: Any) -> Balance:
    return Balance(row["asset"], row["amount"], row["haircut"])


def _reserve(row: Any) -> Reserve:
    return Reserve(row["asset"], row["amount"], row["keep"])


def _policy(row: Any) -> StoredPolicy:
    return StoredPolicy(row["id"], row["version"], POLICY.validate_json(row["document"]), row["operator"])


def _in_flight(row: Any) -> InFlight:
    return InFlight(
        id=row["id"],
        policy_id=row["policy_id"],
        state=AdjustmentState(row["state"]),
        expires_at_ns=row["expires_at_ns"],
        remaining=remaining_of(row),
        policies=tuple(row["policies"]),
    )


async def touch(connection: Any, portfolio_id: PortfolioId, expected_revision: int | None = None) -> int:
    """Takes the next revision; every write to a portfolio or its policies calls it in its transaction."""
    revision = await connection.fetchval(
        "UPDATE portfolios SET revision = revision + 1 "
        "WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint IS NULL OR revision = $2) RETURNING revision",
        portfolio_id,
        expected_revision,
    )
    if revision is not None:
        return int(revision)
    if await connection.fetchval(
        "SELECT true FROM portfolios WHERE id = $1 AND deleted_at IS NULL", portfolio_id
    ):
        raise RevisionMoved(f"portfolio {portfolio_id} changed meanwhile; read it again")
    raise NotFound("portfolio", portfolio_id)


async def write_holdings(connection: Any, changes: Collection[tuple[Portfolio, Portfolio]]) -> None:
    """Brings positions, balances and reserves of the rows from before to after; order is kept."""
    for put, drop, rows_of in _HOLDINGS:
        old = [row for before, _ in changes for row in rows_of(before)]
        new = [row for _, after in changes for row in rows_of(after)]
        stored, held = set(old), {row[:2] for row in new}
        changed = [row for row in new if row not in stored]
        gone = [row[:2] for row in old if row[:2] not in held]
        if changed:
            await connection.execute(put, *zip(*changed, strict=True))
        if gone:
            await connection.execute(drop, *zip(*gone, strict=True))


def _position_rows(portfolio: Portfolio) -> Iterator[_Row]:
    for account in portfolio.accounts:
        for ordinal, held in enumerate(account.positions):
            yield account.id, held.instrument, ordinal, held.quantity, held.entry_price, held.accrued_ns


def _balance_rows(portfolio: Portfolio) -> Iterator[_Row]:
    for account in portfolio.accounts:
        for ordinal, held in enumerate(account.balances):
            yield account.id, held.asset, ordinal, held.amount, held.haircut


def _reserve_rows(portfolio: Portfolio) -> Iterator[_Row]:
    for ordinal, held in enumerate(portfolio.reserves):
        yield portfolio.id, held.asset, ordinal, held.amount, held.keep


_HOLDINGS: Final[tuple[tuple[str, str, Callable[[Portfolio], Iterator[_Row]]], ...]] = (
    (_PUT_POSITIONS, _DROP_POSITIONS, _position_rows),
    (_PUT_BALANCES, _DROP_BALANCES, _balance_rows),
    (_PUT_RESERVES, _DROP_RESERVES, _reserve_rows),
)
"""How each kind is stored and taken away, and its rows: whose and what it is, then the rest."""
