"""Why a consensus is what it is: who is declared as what, who said what, what came of it, who was refused."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from app.domain.market import TickKind
from app.oracle.declared import EVERYBODY_ELSE, Declared
from app.oracle.sequencer import Limits
from app.oracle.standing import Standing, Voice, standings
from app.ports.management import UnitsOfWork
from app.ports.sources import ReadOracle


@dataclass(frozen=True, slots=True)
class ShownSources:
    declared: Declared
    lines: Mapping[tuple[TickKind, str], Standing]
    rejections: Mapping[str, Mapping[str, int]]

    def heard(self) -> set[str]:
        return {voice.tick.source for line in self.lines.values() for voice in line.sources}

    def names(self) -> list[str]:
        """Of all that are declared, were heard, or were refused by name."""
        named = self.heard() | self.declared.sources.keys() | self.rejections.keys()
        return sorted(named - {"", EVERYBODY_ELSE})

    def voices(self, name: str) -> list[tuple[Voice, Standing]]:
        """Its last words, each with what came of the line."""
        return [
            (voice, line)
            for _, line in sorted(self.lines.items())
            for voice in line.sources
            if voice.tick.source == name
        ]


async def show_sources(
    units: UnitsOfWork, read_oracle: ReadOracle, instruments: Container[str] | None = None
) -> ShownSources:
    """As of the oracle's last write; of those instruments only, where they are given."""
    async with units() as unit:
        declared = await unit.sources.declared()
    now = await read_oracle()
    lines = standings(now.memory, declared, of_prices_ns=Limits().maximum_age_ns, instruments=instruments)
    return ShownSources(declared, lines, now.rejections)
