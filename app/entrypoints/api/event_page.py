"""docs/events.md: the registry of events for people, with an example of each as OpenAPI has it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.domain.events import EVENTS, EventSpec
from app.domain.margin_levels import LEVELS
from app.domain.times import NS_PER_SECOND
from app.engine.market_health import DWELL_NS
from app.entrypoints.api.event_documents import emitted_by, envelope_name

_OPENING: Final = """\
<!-- Written by `ballast openapi`: the registry is app/domain/events.py, this text event_page.py. -->

# Events

What happens to a portfolio is told as events, over [WebSocket](../openapi/asyncapi.yaml) and by webhooks,
in the same envelope. They are committed in the transaction that does what they tell, and numbered there:
`sequence` counts the events of a log from 1 without gaps, `previous_sequence` is the one before. `id` is a
function of the log and the sequence, so whoever receives an event twice can tell; over webhooks it is the
header `webhook-id`. `time` is the market clock, 1970 of what was written before the market's first frame.

Each portfolio has a log. What belongs to no portfolio is in a log of the tenant's own: its `portfolio_id` is
null, and it is heard on the channel `adjustments` and by webhooks.

`version` is that of the type. Members may be added to `data` without a new one, so ignore those that you do
not know; any other change has the next. Each type has one emitter; where another role writes it, in the
transaction that does the same, the table says when.

**Margins.** Each account of a portfolio, with or without policies, is told at two levels of its
`margin_ratio` ([metrics.md](metrics.md)): `portfolio.margin_warning` {warning},
`portfolio.liquidation_risk` {risk}. `crossed` says which way. Between the two
numbers nothing is told, so a price that hovers about one is told once; whoever goes through both levels at
once is told of both. What counts is what really stands, not what is on its way. For other levels, and for
other figures, there is `notify` of a `rule` ([policies.md](policies.md)).

**Markets.** `market.degraded` says that a price which the portfolio's policies depend on has not been `valid`
for {dwell} seconds of the market clock, which may hold them back, and `market.recovered` that it has been so
again for as long. Portfolios without policies are not told, nor is anybody of a price that was never known.

"""


def event_page(document: Mapping[str, Any]) -> str:
    """Of an OpenAPI document, whose schemas have examples."""
    schemas = document["components"]["schemas"]
    rows = [
        f"| [`{s.type.value}`](#{_anchor(s)}) | {s.version} | {_who(s)} | {s.summary} |"
        for s in EVENTS.values()
    ]
    table = "\n".join(["| type | version | emitted by | what it says |", "| --- | --- | --- | --- |", *rows])
    sections = (_section(spec, schemas[envelope_name(spec)]["examples"][0]) for spec in EVENTS.values())
    warning, risk = (f"from {level.reached:g} on, until below {level.over:g}" for level in LEVELS)
    opening = _OPENING.format(warning=warning, risk=risk, dwell=DWELL_NS // NS_PER_SECOND)
    return "\n".join([opening + table, *sections])


def _anchor(spec: EventSpec) -> str:
    return spec.type.value.replace(".", "")


def _who(spec: EventSpec) -> str:
    return emitted_by(spec).removeprefix("Emitted by the ").rstrip(".")


def _section(spec: EventSpec, example: dict[str, Any]) -> str:
    return f"\n## {spec.type.value}\n\n{spec.summary}\n\n```json\n{_json(example)}\n```"


def _json(envelope: dict[str, Any]) -> str:
    """A member a line, and those of `data` too."""
    return "{\n" + ",\n".join(_members(envelope)) + "\n}"


def _members(envelope: dict[str, Any]) -> Iterator[str]:
    for name, value in envelope.items():
        if name == "data":
            inner = ",\n".join(f"    {_text(key)}: {_text(member)}" for key, member in value.items())
            yield f'  "data": {{\n{inner}\n  }}'
        else:
            yield f"  {_text(name)}: {_text(value)}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
