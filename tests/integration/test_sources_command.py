"""`ballast sources`, as an operator runs it."""

import os
import subprocess
import sys
from pathlib import Path

from app.adapters.postgres.source_rows import PostgresListings
from app.adapters.redis_streams.tick_publisher import flat_fields
from app.domain.market import Tick, TickKind
from app.domain.times import NS_PER_SECOND
from tests.running_oracle import START_NS, good, oracle

FILE = Path(__file__).resolve().parents[2] / "deploy" / "sources.yaml"


def ballast(*arguments, database_url, redis_url):
    environment = os.environ | {
        "BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url, "COLUMNS": "200",
    }  # fmt: skip
    command = [sys.executable, "-m", "app.entrypoints.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_the_registry_is_applied_and_what_came_of_it_is_shown(
    engine, redis_url, database_url, asyncpg_pool, tmp_path
):
    servers = {"database_url": database_url, "redis_url": redis_url}
    code, said, _ = ballast("sources", "apply", str(FILE), **servers)
    assert (code, said.splitlines()) == (
        0,
        [
            "added instrument BTC-USD",
            *(f"added kind {name}" for name in ("book_depth", "gas_price", "pool_depth", "sentiment")),
            *(f"added source {name}" for name in ("*", "binanceus", "chainlink", "desk", "house", "kraken")),
        ],
    )
    assert ballast("sources", "apply", str(FILE), **servers)[1] == ""
    mistaken = tmp_path / "mistaken.yaml"
    mistaken.write_text("sources: {a: {weight: 0}}")
    code, _, said = ballast("sources", "apply", str(mistaken), **servers)
    assert (code, "/sources/a/weight" in said, "Traceback" in said) == (2, True, False)
    assert len((await PostgresListings(asyncpg_pool).read()).declared.sources) == 6

    code, said, _ = ballast("sources", **servers)
    assert (code, "desk (signs)" in said) == (0, True), "nobody was heard yet"
    assert "house (sent by demo)" in said
    for tenant, warned in (("demo", False), ("others", True)):
        code, key, said = ballast("keys", "create", "--tenant", tenant, "--scope", "ticks", **servers)
        assert (code, key[:5], f"names {tenant} as the publisher of no source" in said) == (
            0,
            "blst_",
            warned,
        )
    async with oracle(engine, redis_url, database_url, clock="replay") as publisher:
        await publisher.send(flat_fields(good(1, value=-1.0)))
        await publisher.frame_of(flat_fields(good(2)))
        for name, age in (("chainlink", 3_500), ("kraken", 30)):
            told = Tick(TickKind.PRICE, name, "BTC-USDT", 1, START_NS - age * NS_PER_SECOND, 50_000.0)
            await publisher.frame_of(flat_fields(told))
        for name in ("venue", "house"):
            beat = Tick(TickKind.HEARTBEAT, name, "", 1, START_NS, 0.0)
            await publisher.frame_of(flat_fields(beat))
        await publisher.frame_of(flat_fields(good(3, time_ns=START_NS + 10 * NS_PER_SECOND)))
        code, said, _ = ballast("sources", **servers)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line]
    assert ["venue", "price", "BTC-USDT", "50000", "0", "0.5", "0", "0.0", "yes", "10.0", ""] in rows
    for row in (
        ["chainlink", "price", "BTC-USDT", "50000", "0", "1", "0", "3,510.0", "by its heartbeat", "", ""],
        ["desk (signs)", *[""] * 4, "1", "", "", "no: said nothing yet", "", ""],
        ["house (sent by demo)", *[""] * 4, "1", "", "", "no: said nothing yet", "10.0", ""],
        [
            "kraken",
            "price",
            "BTC-USDT",
            "50000",
            "0",
            "1",
            "0",
            "40.0",
            "no: no market converts USDC",
            "",
            "",
        ],
    ):
        assert row in rows
    assert ["BTC-USDT", "price", "50000", "0", "valid", "2", "0.0", "50000", "50000"] in rows
    assert ["gas_price (declared)", "2", "0", "15.0", "120.0", "0.5", "0.5", "0.5"] in rows
    assert ["sentiment (declared)", "1", "0", "180,000.0", "360,000.0", "inf", "inf", "0"] in rows
    assert ["funding_rate", "1", "0", "3,600.0", "32,400.0", "inf", "inf", "0"] in rows
    assert ["(nobody known)", *[""] * 9, "1 not_positive"] in rows
