"""The AsyncAPI 3.1 document: the WebSocket, and the Redis streams that publishers and integrators may use.

Event payloads come from the same models as OpenAPI's webhooks, commands from the structs that parse them.
"""

import json
from typing import Any, Final

import yaml
from pydantic.json_schema import models_json_schema

from app import __version__
from app.domain.events import EVENTS, EventSpec
from app.domain.market import Rejection, TickKind
from app.entrypoints.api.event_documents import emitted_by, envelope_of
from app.entrypoints.api.schemas import AdjustmentData, ShownAdjustment
from app.entrypoints.api.stream_documents import (
    CHANNEL,
    CURSOR,
    TEXT,
    Schema,
    commands,
    described,
    record,
    replies,
    stream_channel,
)
from app.entrypoints.api.stream_messages import MarketMessage, RestMessage, RiskMessage

_SHORT: Final[dict[str, str]] = {
    "t": "tenant",
    "p": "portfolio",
    "s": "sequence",
    "k": "type",
    "d": "envelope",
}


def asyncapi_document() -> dict[str, Any]:
    """A function of the code alone: no address, no time."""
    envelopes, schemas = _schemas()
    said, answers = commands(), replies()
    stream_messages = _stream_messages()
    messages = {
        **said,
        **answers,
        **{_event_name(spec): _event(spec, envelopes[_event_name(spec)]) for spec in EVENTS.values()},
        **stream_messages,
    }
    heard = [*answers, *(_event_name(spec) for spec in EVENTS.values())]
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Ballast",
            "version": __version__,
            "description": "Events over WebSocket, and the Redis streams. Times are RFC 3339 in UTC or Unix "
            "nanoseconds (`_ns`), decimals are strings.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "api": {"host": "localhost:8000", "protocol": "ws", "description": "`wss` behind your proxy."},
            "streams": {"host": "localhost:6379", "protocol": "redis"},
        },
        "channels": {
            "stream": stream_channel(_references("#/components/messages", [*said, *heard])),
            **_stream_channels(),
        },
        "operations": {
            "command": _operation("receive", "stream", list(said), "What a client says."),
            "tell": _operation("send", "stream", heard, "What a client hears."),
            **_stream_operations(),
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "ticket": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "Of `POST /v1/stream/tickets`: opens one connection, within 30 s.",
                },
            },
            "messages": messages,
            "schemas": schemas,
        },
    }


def asyncapi_text(document: dict[str, Any]) -> str:
    """The one way it is written, so that equal documents are equal files."""
    unshared = json.loads(json.dumps(document))  # a part used twice would be written as an anchor
    return yaml.safe_dump(unshared, sort_keys=False, allow_unicode=True, width=100)


def _schemas() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Each envelope's reference by its name, and everything the references lead to."""
    models = {_event_name(spec): envelope_of(spec) for spec in EVENTS.values()}
    told = (AdjustmentData, ShownAdjustment, RestMessage, RiskMessage, MarketMessage)
    wanted = [(model, "serialization") for model in (*models.values(), *told)]
    references, definitions = models_json_schema(
        wanted,  # type: ignore[arg-type]  # the literal mode widens to str in a list
        ref_template="#/components/schemas/{model}",
    )
    by_name = {name: references[(model, "serialization")] for name, model in models.items()}
    return by_name, dict(sorted(definitions["$defs"].items()))


def _event_name(spec: EventSpec) -> str:
    return spec.type.replace(".", "_")


def _event(spec: EventSpec, envelope: Schema) -> Schema:
    payload = record(op={"const": "event"}, channel=CHANNEL, cursor=CURSOR, event=envelope)
    return described(f"{spec.summary} {emitted_by(spec)}", payload, title=spec.type.value)


_STREAMS: Final[dict[str, tuple[str, str, list[str]]]] = {
    "ticks": ("oracle:ticks", "What publishers say about the market.", ["tick", "packedTicks"]),
    "market": ("market", "The market as one sequence of frames; an entry's id is its position.", ["frame"]),
    "events": ("events", "Committed events. It may lose and repeat: the API has all.", ["streamedEvent"]),
    "deadletter": ("oracle:deadletter", "Ticks that were refused, and why.", ["rejectedTick"]),
}


def _stream_channels() -> dict[str, Schema]:
    return {
        name: {
            "address": key,
            "servers": [{"$ref": "#/servers/streams"}],
            "description": f"A Redis stream. {description}",
            "messages": _references("#/components/messages", messages),
        }
        for name, (key, description, messages) in _STREAMS.items()
    }


def _stream_operations() -> dict[str, Schema]:
    return {
        name: _operation(
            "receive" if name == "ticks" else "send",
            name,
            messages,
            "XADD by anybody who may publish." if name == "ticks" else "XREAD.",
        )
        for name, (_, _, messages) in _STREAMS.items()
    }


_TICK: Final = "[kind, source, instrument, sequence, time_ns, value, confidence]"
_SIGNATURE: Final[Schema] = {
    "type": "string",
    "contentEncoding": "binary",
    "description": "Ed25519, 64 bytes, over all ticks of the entry as docs/consensus.md says; of sources "
    "that have a public key.",
}


def _stream_messages() -> dict[str, Schema]:
    kinds = {"type": "string", "enum": [kind.value for kind in TickKind]}
    decimal = {"type": "string", "description": "A finite decimal number.", "examples": ["64250.5"]}
    integer = {"type": "string", "pattern": "^[0-9]+$"}
    tick = record(kind=kinds, source=TEXT, instrument=TEXT, sequence=integer, time_ns=integer, value=decimal)
    tick["properties"]["instrument"] = TEXT | {
        "description": "A listed instrument; of a `stress` or a `sentiment` the name of its index, of a "
        "`gas_price` the chain, of a `book_depth` or a `pool_depth` venue or chain, market or pool, and "
        "distance: `binance/BTC-USDT/50bps`."
    }
    tick["properties"]["confidence"] = decimal | {"description": "Half width of the source's own interval."}
    tick["properties"]["signature"] = _SIGNATURE
    packed_ticks = record(packed=_packed(f"A msgpack array of ticks, each an array {_TICK}."))
    packed_ticks["properties"]["signature"] = _SIGNATURE
    change = "[kind, instrument, value, confidence, sources, quality, time_ns]"
    return {
        "tick": described("One tick, as flat fields.", tick, content_type="application/x-redis-fields"),
        "packedTicks": described(
            "Many ticks in one entry: at most one frame comes of it.",
            packed_ticks,
            content_type="application/msgpack",
        ),
        "frame": described(
            "What changed in one step.",
            record(
                f=_packed(
                    "A msgpack array [generation, sequence, time_ns, entry, stamp_ns, changes, covers]; "
                    f"each change is an array {change}. `covers` is how many entries it was made of. A "
                    "volatility of no sources that is not stale is read off the surface of other options."
                )
            ),
            content_type="application/msgpack",
        ),
        "streamedEvent": described(
            "One event: tenant and portfolio as 16 bytes, and the envelope as clients receive it.",
            record(**{short: {"type": "string", "description": meant} for short, meant in _SHORT.items()}),
            content_type="application/x-redis-fields",
        ),
        "rejectedTick": described(
            "One refused tick.",
            record(
                entry=TEXT | {"description": "Id of its entry in `oracle:ticks`."},
                reason={"type": "string", "enum": [reason.value for reason in Rejection]},
                message=TEXT,
                payload=TEXT | {"description": "The beginning of what was sent."},
            ),
            content_type="application/x-redis-fields",
        ),
    }


def _packed(description: str) -> Schema:
    return {"type": "string", "contentEncoding": "binary", "description": description}


def _operation(action: str, channel: str, messages: list[str], summary: str) -> Schema:
    operation: Schema = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }
    if channel == "stream":
        operation["security"] = [
            {"$ref": f"#/components/securitySchemes/{name}"} for name in ("key", "ticket")
        ]
    return operation


def _references(where: str, names: list[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"{where}/{name}"} for name in names}
