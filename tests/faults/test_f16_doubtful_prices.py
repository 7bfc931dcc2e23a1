"""FAULTS 16: on a jump of 6x, a wide confidence or disagreeing sources only reducing is left, and it is said.

The two roles run on real servers: what the sources say is doubted by the oracle, told in the market's frames,
and kept from more risk by the evaluator.
"""

import pytest

from app.adapters.redis_streams.keys import MARKET
from app.domain.adjustments import Outcome, Reason
from app.domain.market import Quality, Tick, TickKind
from app.domain.policies import DeltaNeutral, Guards, OnPoorPrice
from tests import factories
from tests.factories import BTC_PERP, BTC_SPOT
from tests.running_oracle import oracle_and_evaluator, unpack_frame
from tests.waiting import eventually

BEGIN_NS = 1_709_251_200_000_000_000
SECOND = 1_000_000_000
CALM = 60_000.0
# What each source says, with its confidence, once the calm is over.
FAULTS = {
    "a jump": ([(6.0 * CALM, 1.0)] * 2, Quality.TOO_VOLATILE),
    "wide": ([(CALM, 0.03 * CALM)] * 2, Quality.TOO_UNCERTAIN),
    "disagreeing": ([(CALM, 1.0), (1.05 * CALM, 1.0)], Quality.TOO_UNCERTAIN),
}


def hedge(target, on_poor_price):
    """The dwell is as long as the calm: it comes to act on the doubtful prices only."""
    return DeltaNeutral(
        name=f"to {target}",
        underlying="BTC",
        target_delta=target,
        band="0.05",
        hedge_instruments=[BTC_PERP.id],
        guards=Guards(on_poor_price=on_poor_price, dwell_seconds=3),
    )


@pytest.fixture
async def portfolios(engine):
    """Long one coin: to be flat, if that is allowed on such prices or not; to be longer, likewise."""
    await factories.create_market(engine)
    tenant = await factories.create_tenant(engine)
    policies = {
        "held": hedge("0", OnPoorPrice.HOLD),
        "reduces": hedge("0", OnPoorPrice.REDUCE_ONLY),
        "adds": hedge("2", OnPoorPrice.REDUCE_ONLY),
    }
    return {
        (await factories.create_portfolio(engine, tenant, name=name, policies=[policy])).id: name
        for name, policy in policies.items()
    }


@pytest.fixture
async def publish(portfolios, database_url, redis_url):
    """The two roles run; publishes what two sources say of everything, second after second."""
    async with oracle_and_evaluator(database_url, redis_url) as ticks:

        async def publish_quotes(number, quotes):
            time_ns = BEGIN_NS + number * SECOND
            await ticks.publish(
                [
                    Tick(TickKind.PRICE, f"source {n}", instrument.id, number, time_ns, *quote)
                    for n, quote in enumerate(quotes)
                    for instrument in (BTC_PERP, BTC_SPOT)
                ]
            )

        yield publish_quotes


@pytest.mark.parametrize("fault", FAULTS)
async def test_f16_only_reducing_is_left_and_the_decision_says_why(
    publish, portfolios, asyncpg_pool, redis, fault
):
    quotes, quality = FAULTS[fault]
    for number in range(1, 4):
        await publish(number, [(CALM, 1.0)] * 2)
    for number in range(4, 7):
        await publish(number, quotes)

    async def concluded():
        rows = await asyncpg_pool.fetch(
            "SELECT portfolio_id, outcome, reason FROM decisions WHERE reason <> 'not_yet'"
        )
        found = {portfolios[row["portfolio_id"]]: (row["outcome"], row["reason"]) for row in rows}
        return found if len(found) == len(portfolios) else None

    assert await eventually(concluded, timeout=20, what="a decision for each") == {
        "held": (Outcome.SUPPRESSED, Reason.PRICE_QUALITY),
        "reduces": (Outcome.ACTED, Reason.TARGET_REACHED),
        "adds": (Outcome.SUPPRESSED, Reason.PRICE_QUALITY),
    }
    frames = [unpack_frame(entry[b"f"]) for _, entry in await redis.xrange(MARKET)]
    told = [{change.quality for change in frame.changes} for frame in frames]
    assert told == [{Quality.VALID}] * 3 + [{quality}] * 3
