"""What is found of one view at a time, to see how far the market may move: figures as straight lines.

A sketch is made once and used for view after view; `used` says how many rows of a part are in use. Figures
are numbered within the view, accounts first; those that something asks for have a line. Whatever is handed on
to the parts of the loop is as little as they need: it is counted out field by field to each of them.
"""

from typing import NamedTuple

import numpy as np

from app.engine.conditions import ConditionColumns
from app.engine.figures import AccountFigures, ExposureFigures
from app.engine.frame_block import RecordNumbers
from app.engine.tables import ConditionFigures, Market, OptionFigures, Tables
from app.engine.universe import ConversionColumns, PathColumns
from app.quant.arrays import BoolArray, FloatArray, IntArray

NONE = -1
PER_ACCOUNT, EQUITY, MAINTENANCE, BACKING, GROSS, INITIAL = 5, 0, 1, 2, 3, 4
PER_EXPOSURE, PRICE, EXPOSED, NOTIONAL, DELTA, GAMMA, DOLLAR_GAMMA, VEGA = 7, 0, 1, 2, 3, 4, 5, 6
SHAPE_COUNTS = 6
"""Main prices, ratios and minor ones, each above and below the line."""
RATIO_SHARE, MINOR_SHARE = 0.1, 0.05
"""How much of what is left to them a ratio to the main price moves by, and a price of something else."""
PER_TRIGGER = 4
"""Constraints at most, but for those of conditions."""
WAYS, BOTH_WAYS, UPWARDS, DOWNWARDS, UP_AMONG, DOWN_AMONG = 5, 0, 1, 2, 3, 4
"""How a box lies about main prices; the last two say how far they may all go one way, as long as none of them
goes farther the other way than it may.
"""


class Look(NamedTuple):
    """A view on a frame, and what was found there: its own begins at `account`, `exposure`, `condition` and
    `option` of the results.
    """

    number: int
    frame: int
    account: int
    exposure: int
    condition: int
    option: int
    tables: Tables
    market: Market
    accounts: AccountFigures
    exposures: ExposureFigures
    conditions: ConditionFigures
    options: OptionFigures


class Told(NamedTuple):
    """What conditions read: the rows of a view's programmes from `begin` on, what they came to from `at` on,
    how many accounts and exposures it has, and of its accounts, from `account` on, figures and (from `own`
    on) whether they lend.
    """

    begin: int
    at: int
    account: int
    own: int
    accounts: int
    exposures: int
    listed: int
    conditions: ConditionColumns
    result: FloatArray
    maintenance: FloatArray
    margin_ratio: FloatArray
    lends: BoolArray


class Watching(NamedTuple):
    """What a view watches: so many rows of it from the first on."""

    first: int
    size: int
    column: IntArray
    role: IntArray
    group: IntArray


class Prices(NamedTuple):
    """Of a frame, with all that moves with one `main` watch times `moved`; rows of instruments are below
    `listed`.
    """

    frame: int
    main: int
    moved: float
    listed: int
    standing: RecordNumbers
    value: FloatArray
    conversions: ConversionColumns
    paths: PathColumns


class Asked(NamedTuple):
    """Which line a figure of the view has, `NONE` where nothing asks for it."""

    used: IntArray
    line: IntArray


class Lines(NamedTuple):
    """Of each figure that is asked for: the slope in every watch (per relative move), by shape the magnitudes
    of the products that it is the sum of, its value and the sum of magnitudes. It `rises` and `falls` from
    its straight line by no more than so much over a box, and by less in proportion over a part of it; by
    what it `drifts` it may be off everywhere, also where main prices stand still.
    """

    slope: FloatArray
    mass: FloatArray
    value: FloatArray
    magnitude: FloatArray
    rises: FloatArray
    falls: FloatArray
    drifts: FloatArray


class Products(NamedTuple):
    """The price in `column` to its `power`, times a `conversion`, of which either may be `NONE`: the shape,
    the value, and the power in every watch.
    """

    used: IntArray
    column: IntArray
    power: IntArray
    conversion: IntArray
    shape: IntArray
    value: FloatArray
    powers: FloatArray


class Shapes(NamedTuple):
    """How many prices of which kind stand above and below the line of a product: `SHAPE_COUNTS` columns, and
    all of them in one `key`. `marks`: options are priced by such a product; `bent`: it is no straight line.

    Over a box, as shares of what it is now: how far it may sway, and how far it bends off its straight line
    as main prices move; how far it swerves, and is stirred off its line, where they stand still; between
    which shares it is, and their logarithms.
    """

    used: IntArray
    counts: IntArray
    key: IntArray
    marks: BoolArray
    bent: BoolArray
    sways: FloatArray
    bends: FloatArray
    swerves: FloatArray
    stirs: FloatArray
    low: FloatArray
    high: FloatArray
    log_low: FloatArray
    log_high: FloatArray


class Holdings(NamedTuple):
    """Positions and balances. Figures of the account and the exposure begin at `account` and `exposure`
    (`NONE`: it is none).

    `fixed`, and what `moves` with the price in `column` to its `power`, is equity in the asset that it is
    `settled` in; so is what it needs, first and always, and what it backs, but an option needs a share of its
    underlying.
    `option`: where it stands among those that are held, else `NONE`.
    """

    used: IntArray
    account: IntArray
    exposure: IntArray
    column: IntArray
    power: IntArray
    settled: IntArray
    underlying: IntArray
    option: IntArray
    fixed: FloatArray
    moves: FloatArray
    opens: FloatArray
    needs: FloatArray
    backs: FloatArray
    delta: FloatArray


class HeldOptions(NamedTuple):
    """Of each option that is held, for one unit: the strike, the price of its mark, the logarithm of that
    over the strike, the volatility, the years that are left, value, delta and gamma.

    `worth` is what all units pay for 1 of value, and `price_worth` the price of one of the underlying, both
    in the valuation currency. `mark`, `paid` and `underlying` are the shapes of its price, of what it pays in
    and of that worth. Figures of its account and exposure begin at `account` and `exposure`. `climbs`: what
    is to be maintained goes up with its value, once that is as much as the price.
    """

    used: IntArray
    strike: FloatArray
    price: FloatArray
    moneyness: FloatArray
    volatility: FloatArray
    years: FloatArray
    value: FloatArray
    delta: FloatArray
    gamma: FloatArray
    units: FloatArray
    worth: FloatArray
    price_worth: FloatArray
    mark: IntArray
    paid: IntArray
    underlying: IntArray
    account: IntArray
    exposure: IntArray
    call: BoolArray
    climbs: BoolArray


class Constraints(NamedTuple):
    """Sums of figures that have to stay below zero: weights of lines, from `part` to `part_stop`. One that is
    of a `node` need not, as long as no truth hangs on it; `NONE` must.

    The `constant` and its magnitude, `fixed`; with all parts the value and the sum of magnitudes; how steeply
    it goes up with main prices in each of the `WAYS`, and with what is left to the others (`aside`).
    Where a band narrows with what the market does: the parameter that it begins with (else `NONE`), its
    kind, the lines of its gamma and its price, how steeply the price, and how steeply the gamma (`turns`)
    moves with main prices and aside, and the least and the most that the band is.
    Over a box: what it bends and what it drifts up, and how much of that it drifts where no price moves.
    To find how far all hold: what is `taken` of their room at once, and what is by `slope` and by `square`.
    """

    used: IntArray
    part: IntArray
    part_stop: IntArray
    node: IntArray
    band: IntArray
    band_kind: IntArray
    band_gamma: IntArray
    band_price: IntArray
    constant: FloatArray
    fixed: FloatArray
    value: FloatArray
    magnitude: FloatArray
    aside: FloatArray
    band_steep: FloatArray
    band_aside: FloatArray
    band_turns: FloatArray
    band_turns_aside: FloatArray
    band_floor: FloatArray
    band_cap: FloatArray
    bends: FloatArray
    drifts: FloatArray
    still: FloatArray
    taken: FloatArray
    slope: FloatArray
    square: FloatArray
    steep: FloatArray


class Parts(NamedTuple):
    used: IntArray
    line: IntArray
    weight: FloatArray


class Nodes(NamedTuple):
    """Rows of the conditions of rules, as they stand in those of the view: the operation, the rows of its
    arguments, and whether it must keep its truth; how far it does.
    """

    used: IntArray
    opcode: IntArray
    left: IntArray
    right: IntArray
    must: BoolArray
    truth: FloatArray
    reach: FloatArray


class Sums(NamedTuple):
    """What has to hold, of which figures."""

    asked: Asked
    constraints: Constraints
    parts: Parts
    nodes: Nodes


class Drawing(NamedTuple):
    """The lines, and what they are drawn with."""

    lines: Lines
    products: Products
    shapes: Shapes


class Sketch(NamedTuple):
    sums: Sums
    holdings: Holdings
    held: HeldOptions
    drawing: Drawing


class Sizes(NamedTuple):
    """The most that a view has of each; `holdings` are positions and balances."""

    accounts: int
    exposures: int
    holdings: int
    triggers: int
    conditions: int
    watches: int


def sketch_for(most: Sizes) -> Sketch:
    figures = most.accounts * PER_ACCOUNT + most.exposures * PER_EXPOSURE + most.conditions
    products, options = 4 * most.holdings + most.exposures + most.conditions, most.holdings
    short, long = most.accounts * (2 + 2 * most.conditions), PER_TRIGGER * most.triggers + most.conditions
    constraints = short + long
    parts = 2 * short + long * (3 + 2 * (most.accounts + most.exposures) + most.conditions)
    used = np.zeros((8, 1), dtype=np.int64)
    slope, mass = np.empty((figures, most.watches)), np.empty((figures, products))
    sums = Sums(
        Asked._make((used[0], *_integers(1, figures))),
        Constraints._make(
            (used[1], *_integers(7, constraints), *np.empty((17, constraints)), np.empty((constraints, WAYS)))
        ),
        Parts._make((used[2], *_integers(1, parts), np.empty(parts))),
        Nodes._make(
            (
                used[7],
                *_integers(3, most.conditions),
                np.empty(most.conditions, dtype=bool),
                *np.empty((2, most.conditions)),
            )
        ),
    )
    shapes = (
        used[3],
        np.empty((products, SHAPE_COUNTS), dtype=np.int64),
        *_integers(1, products),
        *np.empty((2, products), dtype=bool),
        *np.empty((8, products)),
    )
    drawing = Drawing(
        Lines._make((slope, mass, *np.empty((5, figures)))),
        Products._make(
            (used[4], *_integers(4, products), np.empty(products), np.empty((products, most.watches)))
        ),
        Shapes._make(shapes),
    )
    holdings = (used[5], *_integers(7, most.holdings), *np.empty((6, most.holdings)))
    held = (used[6], *np.empty((11, options)), *_integers(5, options), *np.empty((2, options), dtype=bool))
    return Sketch(sums, Holdings._make(holdings), HeldOptions._make(held), drawing)


def _integers(rows: int, size: int) -> IntArray:
    return np.empty((rows, size), dtype=np.int64)
