"""That what a source speaks of is the instrument it is published as."""

from app.domain.errors import InvalidInput
from app.domain.instruments import InstrumentKind
from app.ports.feeds import Line


def check_pair(line: Line, *, base: str, quote: str, declared_quote: str | None) -> None:
    """InvalidInput where it is not. `declared_quote` is what its source is declared to quote in."""
    instrument = line.instrument
    if base != instrument.underlying:
        raise InvalidInput(
            f"{line.name} is a price of {base or 'something unnamed'}, and {instrument.id} is of "
            f"{instrument.underlying}: publish it as another instrument"
        )
    wanted = declared_quote or instrument.quote
    if quote != wanted:
        whose = "the source is declared to quote" if declared_quote else f"{instrument.id} is quoted"
        raise InvalidInput(
            f"{line.name} is in {quote or 'no currency'}, and {whose} in {wanted}: publish it as another "
            f"instrument, or declare that its source quotes in {quote} and say so with --quote {quote}"
        )


def check_index(line: Line) -> None:
    """InvalidInput where a price of the underlying is none of the instrument."""
    if line.instrument.kind not in (InstrumentKind.SPOT, InstrumentKind.PERPETUAL):
        raise InvalidInput(
            f"{line.name} is a price of {line.instrument.underlying}, which is none of {line.instrument.id} "
            f"({line.instrument.kind}): publish it as a spot instrument or a perpetual"
        )
