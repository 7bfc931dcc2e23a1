"""Why a consensus is what it is: who is declared as what, who said what, what came of it, who was refused."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from app.domain.market import TickKind
from app.oracle.declared import EVERYBODY_ELSE, Declared
from app.oracle.sequencer import Limits
from app.oracle.standing import Standing, Voice, standings
from app.ports.management import UnitsOfWork
from app.ports.sources import ReadOracle


@dataclass(frozen=True, slots=True)
class ShownSources:
    """`words` are last words by source, each with what came of its line."""

    declared: Declared
    lines: Mapping[tuple[TickKind, str], Standing]
    words: Mapping[str, Sequence[tuple[Voice, Standing]]]
    rejections: Mapping[str, Mapping[str, int]]
    heartbeats: Mapping[str, int]

    def names(self) -> list[str]:
        """Of all that are declared, were heard, or were refused by name."""
        named = self.words.keys() | self.declared.sources.keys() | self.rejections.keys()
        return sorted(named - {"", EVERYBODY_ELSE})

    def voices(self, name: str) -> Sequence[tuple[Voice, Standing]]:
        return self.words.get(name, ())

    def heard_ns(self, name: str) -> int | None:
        """When its newest tick was said, whatever of; None of who said nothing yet."""
        return max((voice.tick.time_ns for voice, _ in self.voices(name)), default=None)

    def away_ns(self, name: str, now_ns: int) -> int | None:
        """Since when no word of it counts; None while one does, and of who said nothing yet."""
        since_ns = max((voice.away_ns for voice, _ in self.voices(name)), default=now_ns)
        return since_ns if since_ns < now_ns else None


async def show_sources(
    units: UnitsOfWork, read_oracle: ReadOracle, only: Container[str] | None = None
) -> ShownSources:
    """As of the oracle's last write; of `only` these instruments, where they are given."""
    async with units() as unit:
        declared, instruments = await unit.sources.declared(), await unit.sources.pairs()
    now = await read_oracle()
    lines = standings(
        now.memory, declared, of_prices_ns=Limits().maximum_age_ns, instruments=instruments, only=only
    )
    words = defaultdict[str, list[tuple[Voice, Standing]]](list)
    for _, line in sorted(lines.items(), key=itemgetter(0)):
        for voice in line.sources:
            words[voice.tick.source].append((voice, line))
    return ShownSources(declared, lines, words, now.rejections, now.memory.heartbeats)
