"""The portfolios of whole shards as PostgreSQL copies them out: rows of a book, without an object each."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from app.adapters.postgres.copied import Copied, copied, in_order
from app.domain.identifiers import AccountId, Asset, InstrumentId, PolicyId, PortfolioId, TenantId
from app.domain.policies import POLICY, AnyPolicy, StoredPolicy
from app.domain.portfolios import (
    Account,
    Balance,
    MarginMode,
    Portfolio,
    PortfolioState,
    Position,
    Reserve,
)
from app.engine.columns import row_ranges
from app.engine.holding_rows import (
    PAPER_VENUE,
    AccountRows,
    BalanceRows,
    Counts,
    HoldingRows,
    PortfolioRows,
    PositionRows,
)
from app.engine.policy_rows import PolicyCatalogue, PolicyRows, tables_of_policies
from app.engine.universe import Universe
from app.quant.arrays import BoolArray, IntArray

_PORTFOLIOS: Final = """
SELECT p.id, p.tenant_id, p.name, p.valuation_currency, p.state, p.revision, p.unevaluated
FROM portfolios p WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_ACCOUNTS: Final = """
SELECT a.id, a.portfolio_id, a.ordinal, a.name, a.venue, a.margin_mode
FROM accounts a JOIN portfolios p ON p.id = a.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_POSITIONS: Final = """
SELECT h.account_id, h.ordinal, h.instrument_id, h.quantity, h.entry_price, h.accrued_ns
FROM positions h JOIN accounts a ON a.id = h.account_id JOIN portfolios p ON p.id = a.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_BALANCES: Final = """
SELECT b.account_id, b.ordinal, b.asset, b.amount, b.haircut
FROM balances b JOIN accounts a ON a.id = b.account_id JOIN portfolios p ON p.id = a.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_RESERVES: Final = """
SELECT r.portfolio_id, r.ordinal, r.asset, r.amount, r.keep
FROM reserves r JOIN portfolios p ON p.id = r.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL
"""
_POLICIES: Final = """
SELECT o.portfolio_id, o.ordinal, o.id, o.version, (o.operator_policy_id IS NOT NULL)::int4,
    o.document_digest
FROM policies o JOIN portfolios p ON p.id = o.portfolio_id
WHERE p.shard = ANY($1::int[]) AND p.deleted_at IS NULL AND o.enabled AND o.deleted_at IS NULL
"""
_DOCUMENTS: Final = "SELECT id, document::text FROM policies WHERE id = ANY($1::uuid[])"
COPIES: Final = {
    "portfolios": (_PORTFOLIOS, 7),
    "accounts": (_ACCOUNTS, 6),
    "positions": (_POSITIONS, 6),
    "balances": (_BALANCES, 5),
    "reserves": (_RESERVES, 5),
    "policies": (_POLICIES, 6),
}
"""What is copied of each table, and how many fields that are."""


async def read_shards(connection: Any, shards: Sequence[int]) -> "StoredBook":
    """In a transaction in which everything is seen as at one moment."""
    copies = {
        name: await copied(connection, query, shards, fields=fields)
        for name, (query, fields) in COPIES.items()
    }
    policies = copies["policies"]
    document, examples = policies.numbered(5)
    ids = [UUID(bytes=policies.field(row, 2)) for row in examples.tolist()]
    documents = dict(await connection.fetch(_DOCUMENTS, ids))
    return StoredBook(**copies, document=document, documents=[documents[example] for example in ids])


class _Grouped:
    """Rows by whose they are and then in stored order: those of owner n from start[n] to start[n + 1]."""

    def __init__(self, rows: Copied, owner: int, owners: Copied, *more: NDArray[Any]) -> None:
        """`owner`: the field that is the owner's first one. `more`: what says the order of his rows."""
        of_each = rows.among(owner, owners, 0)
        self.start = np.concatenate(([0], np.cumsum(np.bincount(of_each, minlength=len(owners)))))
        self.order = in_order(of_each, *more)

    def of(self, owner: int) -> list[int]:
        """His rows as they were copied."""
        return [int(row) for row in self.order[int(self.start[owner]) : int(self.start[owner + 1])]]

    def picked(self, owners: IntArray) -> tuple[IntArray, IntArray]:
        """The rows of several owners, one after the other, and where those of each begin."""
        rows, _ = row_ranges(self.start[owners], self.start[owners + 1])
        return self.order[rows], _starts(np.diff(self.start)[owners])


class StoredBook:
    """Numbers of portfolios are those of `ids`. Policies whose documents are the same are one: `document` is
    the number of each one's among `documents`.
    """

    def __init__(
        self,
        portfolios: Copied,
        accounts: Copied,
        positions: Copied,
        balances: Copied,
        reserves: Copied,
        policies: Copied,
        document: IntArray,
        documents: Sequence[str],
    ) -> None:
        self._portfolios, self._accounts, self._positions = portfolios, accounts, positions
        self._balances, self._reserves, self._policies = balances, reserves, policies
        self.ids = [PortfolioId(identity) for identity in portfolios.identities(0)]
        self._accounts_of = _Grouped(accounts, 1, portfolios, accounts.integers(2))
        self._reserves_of = _Grouped(reserves, 0, portfolios, reserves.integers(1))
        self._policies_of = _Grouped(policies, 0, portfolios, policies.integers(1), *policies.halves(2))
        self._positions_of = _Grouped(positions, 0, accounts, positions.integers(1))
        self._balances_of = _Grouped(balances, 0, accounts, balances.integers(1))
        self._currency, self._currencies = portfolios.distinct(3)
        self._instrument, self._instruments = positions.distinct(2)
        self._asset, self._assets = balances.distinct(2)
        self._document, self._documents = document, documents
        self._parsed: dict[int, AnyPolicy] = {}
        self._setting, self._example_of = self._settings()
        self._paper = _is(accounts, 4, PAPER_VENUE)
        self._lends = _is(accounts, 5, MarginMode.LENDING)
        self._margined_as_a_whole = _is(accounts, 5, MarginMode.PORTFOLIO)
        quantity, entry_price = positions.floats(3), positions.floats(4)
        self._held = PositionRows(self._instrument, quantity, entry_price, positions.integers(5))
        self._cash = BalanceRows(self._asset, balances.floats(3), balances.floats(4))

    @property
    def unevaluated(self) -> frozenset[PortfolioId]:
        """Whose present revision no commit has seen yet."""
        return frozenset(self.ids[n] for n in np.flatnonzero(self._portfolios.integers(6)).tolist())

    @property
    def nbytes(self) -> int:
        copies = (
            self._portfolios, self._accounts, self._positions, self._balances, self._reserves, self._policies,
        )  # fmt: skip
        return sum(copy.nbytes for copy in copies) + sum(
            column.nbytes for column in (*self._held, *self._cash)
        )

    def rows(self, numbers: IntArray, universe: Universe, catalogue: PolicyCatalogue) -> HoldingRows:
        accounts, account_start = self._accounts_of.picked(numbers)
        positions, position_start = self._positions_of.picked(accounts)
        balances, balance_start = self._balances_of.picked(accounts)
        policies, policy_start = self._policies_of.picked(numbers)
        compiled, of_each = self._compiled(policies, np.repeat(numbers, np.diff(policy_start)), catalogue)
        tables, held, cash = tables_of_policies(compiled), self._held, self._cash
        rows = np.array([universe.index.get(name.decode(), -1) for name in self._instruments], dtype=np.int64)
        instruments = rows[held.instrument[positions]]
        if (instruments < 0).any():
            raise LookupError("a stored position is in an instrument that is not listed")
        assets = _numbers(universe, self._assets)
        return HoldingRows(
            portfolios=PortfolioRows(
                currency=_numbers(universe, self._currencies)[self._currency[numbers]],
                stands=np.ones(numbers.size, dtype=bool),
                account_start=account_start,
                policy_start=policy_start,
                underlyings_start=np.zeros(numbers.size + 1, dtype=np.int64),
            ),
            accounts=AccountRows(
                paper=self._paper[accounts],
                lends=self._lends[accounts],
                portfolio_margin=self._margined_as_a_whole[accounts],
                position_start=position_start,
                balance_start=balance_start,
            ),
            positions=PositionRows(
                instruments, held.quantity[positions], held.entry_price[positions], held.accrued_ns[positions]
            ),
            balances=BalanceRows(assets[cash.asset[balances]], cash.amount[balances], cash.haircut[balances]),
            policies=of_each,
            tables=tables,
            counts=Counts.of(tables, of_each),
            underlyings=np.zeros(0, dtype=np.int64),
        )

    def portfolio(self, number: int) -> Portfolio:
        """As it would have been read by itself; nothing of it is in flight."""
        frame = self._frame(number)
        accounts = (
            replace(
                account,
                positions=tuple(self._position(at) for at in self._positions_of.of(row)),
                balances=tuple(self._balance(at) for at in self._balances_of.of(row)),
            )
            for account, row in zip(frame.accounts, self._accounts_of.of(number), strict=True)
        )
        policies = (self._policy(row) for row in self._policies_of.of(number))
        return replace(frame, accounts=tuple(accounts), policies=tuple(policies))

    def _frame(self, number: int) -> Portfolio:
        """Without what is in its accounts, and without policies."""
        heads, accounts = self._portfolios, self._accounts
        return Portfolio(
            id=self.ids[number],
            tenant_id=TenantId(UUID(bytes=heads.field(number, 1))),
            name=heads.text(number, 2),
            valuation_currency=Asset(heads.text(number, 3)),
            state=PortfolioState(heads.text(number, 4)),
            revision=heads.integer(number, 5),
            accounts=tuple(
                Account(
                    id=AccountId(UUID(bytes=accounts.field(row, 0))),
                    name=accounts.text(row, 3),
                    venue=accounts.text(row, 4),
                    margin_mode=MarginMode(accounts.text(row, 5)),
                )
                for row in self._accounts_of.of(number)
            ),
            reserves=tuple(self._reserve(row) for row in self._reserves_of.of(number)),
        )

    def _position(self, row: int) -> Position:
        rows = self._positions
        name = InstrumentId(rows.text(row, 2))
        return Position(name, rows.decimal(row, 3), rows.decimal(row, 4), rows.integer(row, 5))

    def _balance(self, row: int) -> Balance:
        rows = self._balances
        return Balance(Asset(rows.text(row, 2)), rows.decimal(row, 3), rows.decimal(row, 4))

    def _reserve(self, row: int) -> Reserve:
        rows = self._reserves
        return Reserve(Asset(rows.text(row, 2)), rows.decimal(row, 3), rows.decimal(row, 4))

    def _policy(self, row: int) -> StoredPolicy:
        rows, policy = self._policies, self._parsed_policy(int(self._document[row]))
        identity = PolicyId(UUID(bytes=rows.field(row, 2)))
        return StoredPolicy(identity, rows.integer(row, 3), policy, bool(rows.integer(row, 4)))

    def _parsed_policy(self, document: int) -> AnyPolicy:
        if document not in self._parsed:
            self._parsed[document] = POLICY.validate_json(self._documents[document])
        return self._parsed[document]

    def _settings(self) -> tuple[IntArray, list[int]]:
        """What the rows of policies depend on beside their documents: a currency, and the names of accounts.
        Of every portfolio its setting, and of every setting a portfolio.
        """
        names, _ = self._accounts.distinct(3)
        of_accounts, start = names[self._accounts_of.order].tolist(), self._accounts_of.start.tolist()
        known: dict[tuple[int, ...], int] = {}
        examples: list[int] = []
        settings = np.empty(len(self.ids), dtype=np.int64)
        for number, currency in enumerate(self._currency.tolist()):
            key = (currency, *of_accounts[start[number] : start[number + 1]])
            if key not in known:
                known[key] = len(examples)
                examples.append(number)
            settings[number] = known[key]
        return settings, examples

    def _compiled(
        self, policies: IntArray, owners: IntArray, catalogue: PolicyCatalogue
    ) -> tuple[list[PolicyRows], IntArray]:
        """The rows of different policies, and which of them each is. What reads a reserve is by itself."""
        settings = max(len(self._example_of), 1)
        keys, of_each = np.unique(
            self._document[policies] * settings + self._setting[owners], return_inverse=True
        )
        pairs = [divmod(key, settings) for key in keys.tolist()]
        used = {setting for _, setting in pairs}
        examples = {setting: self._frame(self._example_of[setting]) for setting in used}
        found = [
            catalogue.of(examples[setting], self._parsed_policy(document), ()) for document, setting in pairs
        ]
        alone = np.array([rows.reads_reserves for rows in found], dtype=bool)
        for at in np.flatnonzero(alone[of_each]).tolist() if alone.any() else ():
            policy = self._parsed_policy(int(self._document[policies[at]]))
            of_each[at] = len(found)
            found.append(catalogue.of(self._frame(int(owners[at])), policy, ()))
        return found, of_each


def _is(rows: Copied, field: int, value: str) -> BoolArray:
    numbers, values = rows.distinct(field)
    same: BoolArray = np.array([each == value.encode() for each in values], dtype=bool)[numbers]
    return same


def _numbers(universe: Universe, names: Sequence[bytes]) -> IntArray:
    return np.array([universe.asset(Asset(name.decode())) for name in names], dtype=np.int64)


def _starts(counts: IntArray) -> IntArray:
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts)))
