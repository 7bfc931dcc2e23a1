"""Portfolios between rows and the domain, in bulk, on a raw asyncpg connection."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from app.domain.adjustment_json import legs_from_json
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

_PORTFOLIOS = """
SELECT id, tenant_id, name, valuation_currency, state, revision
FROM portfolios WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL
"""
_ACCOUNTS = """
SELECT id, portfolio_id, name, venue, margin_mode
FROM accounts WHERE portfolio_id = ANY($1::uuid[]) ORDER BY portfolio_id, ordinal
"""
_POSITIONS = """
SELECT p.account_id, p.instrument_id, p.quantity, p.entry_price
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
SELECT id, portfolio_id, version, document
FROM policies WHERE portfolio_id = ANY($1::uuid[]) AND enabled AND deleted_at IS NULL
ORDER BY portfolio_id, ordinal, id
"""
_OPEN = f"""
SELECT id, portfolio_id, policy_id, state, expires_at_ns, remaining
FROM adjustments
WHERE portfolio_id = ANY($1::uuid[]) AND state IN ({", ".join(f"'{s}'" for s in sorted(OPEN_STATES))})
ORDER BY portfolio_id, generation, sequence, id
"""  # noqa: S608 - the states are constants of the domain


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
    return Position(row["instrument_id"], row["quantity"], row["entry_price"])


def _balance(row: Any) -> Balance:
    return Balance(row["asset"], row["amount"], row["haircut"])


def _reserve(row: Any) -> Reserve:
    return Reserve(row["asset"], row["amount"], row["keep"])


def _policy(row: Any) -> StoredPolicy:
    return StoredPolicy(row["id"], row["version"], POLICY.validate_json(row["document"]))


def _in_flight(row: Any) -> InFlight:
    return InFlight(
        id=row["id"],
        policy_id=row["policy_id"],
        state=AdjustmentState(row["state"]),
        expires_at_ns=row["expires_at_ns"],
        remaining=legs_from_json(msgspec.json.decode(row["remaining"])),
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


async def write_holdings(connection: Any, before: Portfolio, after: Portfolio) -> None:
    """Brings positions, balances and reserves of the rows from `before` to `after`; order is kept."""
    old_accounts = {account.id: account for account in before.accounts}
    for account in after.accounts:
        old = old_accounts[account.id]
        if account.positions != old.positions:
            await _write_positions(connection, old, account)
        if account.balances != old.balances:
            await _write_balances(connection, account)
    if after.reserves != before.reserves:
        await connection.execute(
            "INSERT INTO reserves (portfolio_id, asset, ordinal, amount, keep) "
            "SELECT $1, * FROM unnest($2::text[], $3::int[], $4::numeric[], $5::numeric[]) "
            "ON CONFLICT (portfolio_id, asset) DO UPDATE "
            "SET amount = EXCLUDED.amount, keep = EXCLUDED.keep, ordinal = EXCLUDED.ordinal",
            after.id,
            [r.asset for r in after.reserves],
            list(range(len(after.reserves))),
            [r.amount for r in after.reserves],
            [r.keep for r in after.reserves],
        )
        await connection.execute(
            "DELETE FROM reserves WHERE portfolio_id = $1 AND asset <> ALL($2::text[])",
            after.id,
            [r.asset for r in after.reserves],
        )


async def _write_positions(connection: Any, old: Account, new: Account) -> None:
    await connection.execute(
        "INSERT INTO positions (account_id, instrument_id, ordinal, quantity, entry_price) "
        "SELECT $1, * FROM unnest($2::text[], $3::int[], $4::numeric[], $5::numeric[]) "
        "ON CONFLICT (account_id, instrument_id) DO UPDATE SET quantity = EXCLUDED.quantity, "
        "entry_price = EXCLUDED.entry_price, ordinal = EXCLUDED.ordinal",
        new.id,
        [p.instrument for p in new.positions],
        list(range(len(new.positions))),
        [p.quantity for p in new.positions],
        [p.entry_price for p in new.positions],
    )
    gone = {p.instrument for p in old.positions} - {p.instrument for p in new.positions}
    if gone:
        await connection.execute(
            "DELETE FROM positions WHERE account_id = $1 AND instrument_id = ANY($2::text[])",
            new.id,
            sorted(gone),
        )


async def _write_balances(connection: Any, account: Account) -> None:
    assets = [b.asset for b in account.balances]
    await connection.execute(
        "INSERT INTO balances (account_id, asset, ordinal, amount, haircut) "
        "SELECT $1, * FROM unnest($2::text[], $3::int[], $4::numeric[], $5::numeric[]) "
        "ON CONFLICT (account_id, asset) DO UPDATE SET amount = EXCLUDED.amount, "
        "haircut = EXCLUDED.haircut, ordinal = EXCLUDED.ordinal",
        account.id,
        assets,
        list(range(len(assets))),
        [b.amount for b in account.balances],
        [b.haircut for b in account.balances],
    )
    await connection.execute(
        "DELETE FROM balances WHERE account_id = $1 AND asset <> ALL($2::text[])", account.id, assets
    )
