"""`ballast feed`: what was asked for, made of the command's arguments."""

import asyncio
from collections.abc import Mapping

from app.adapters.feeds import FeedChoice
from app.bootstrap import Stack
from app.domain.errors import InvalidInput
from app.entrypoints import feed as feed_process
from app.entrypoints.cli.roles import Role


def parse_instruments(text: str) -> Mapping[str, str]:
    """`OURS=THEIRS,…`: what the source calls each; one name alone is both."""
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        ours, _, theirs = (side.strip() for side in part.partition("="))
        theirs = theirs or ours
        if not ours:
            raise InvalidInput(f"--instruments: {part!r} names no instrument of ours: write OURS=THEIRS")
        if ours in names:
            raise InvalidInput(f"--instruments: {ours} is there twice: one source has one price of it")
        if theirs in taken:
            raise InvalidInput(f"--instruments: {theirs} is given for both {taken[theirs]} and {ours}")
        names[ours], taken[theirs] = theirs, ours
    if not names:
        raise InvalidInput("--instruments: name at least one, as OURS=THEIRS")
    return names


def feed(choice: FeedChoice) -> Role:
    async def publish(connected: Stack, stop: asyncio.Event) -> None:
        await feed_process.run(feed=await connected.feed(choice), stop=stop)

    return publish
