"""The AsyncAPI 3.1 document: the WebSocket, and the Redis streams that publishers and integrators may use.

Event payloads come from the same models as OpenAPI's webhooks, commands from the structs that parse them.
"""

import json
from typing import Any, Final

import msgspec
import yaml
from pydantic.json_schema import models_json_schema

from app import __version__
from app.domain.events import EVENTS, EventSpec
from app.domain.market import Rejection, TickKind
from app.entrypoints.api.event_documents import emitted_by, envelope_of
from app.entrypoints.api.schemas import AdjustmentData
from app.entrypoints.api.websocket import (
    MAX_SUBSCRIPTIONS,
    PATH,
    AuthenticateCommand,
    CloseCode,
    PingCommand,
    RestMessage,
    SubscribeCommand,
    UnsubscribeCommand,
)

Schema = dict[str, Any]

_COMMANDS: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "authenticate": (
        AuthenticateCommand,
        "First message of a client that cannot set the Authorization header (a browser), within 5 s.",
    ),
    "subscribe": (
        SubscribeCommand,
        (
            "To `portfolio.<id>`, to `adjustments`: all portfolios of the tenant, or to `policy.<id>`. "
            "`after` is the last sequence that the client has (on `adjustments`: of each portfolio; one that "
            "is left out is told from its beginning). Without it: from now on, on a portfolio after a "
            "snapshot. A policy has no log: it only says between which prices it rests."
        ),
    ),
    "unsubscribe": (UnsubscribeCommand, "No more of this channel."),
    "ping": (PingCommand, "Answered with pong."),
}
_SHORT: Final[dict[str, str]] = {
    "t": "tenant",
    "p": "portfolio",
    "s": "sequence",
    "k": "type",
    "d": "envelope",
}
_TEXT: Final[Schema] = {"type": "string"}
_SEQUENCE: Final[Schema] = {"type": "integer", "minimum": 0}
_CHANNEL: Final[Schema] = {"type": "string", "examples": ["portfolio.0b6f7c52-6f0e-4d4e-9a55-5c1f2f3a9b10"]}


def asyncapi_document() -> dict[str, Any]:
    """A function of the code alone: no address, no time."""
    envelopes, schemas = _schemas()
    replies = _replies()
    stream_messages = _stream_messages()
    messages = {
        **{f"{op}Command": _command(op) for op in _COMMANDS},
        **replies,
        **{_event_name(spec): _event(spec, envelopes[_event_name(spec)]) for spec in EVENTS.values()},
        **stream_messages,
    }
    said = [f"{op}Command" for op in _COMMANDS]
    heard = [*replies, *(_event_name(spec) for spec in EVENTS.values())]
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
        "channels": {"stream": _websocket_channel([*said, *heard]), **_stream_channels()},
        "operations": {
            "command": _operation("receive", "stream", said, "What a client says."),
            "tell": _operation("send", "stream", heard, "What a client hears."),
            **_stream_operations(),
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
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
    wanted = [(model, "serialization") for model in (*models.values(), AdjustmentData, RestMessage)]
    references, definitions = models_json_schema(
        wanted,  # type: ignore[arg-type]  # the literal mode widens to str in a list
        ref_template="#/components/schemas/{model}",
    )
    by_name = {name: references[(model, "serialization")] for name, model in models.items()}
    return by_name, dict(sorted(definitions["$defs"].items()))


def _event_name(spec: EventSpec) -> str:
    return spec.type.replace(".", "_")


def _event(spec: EventSpec, envelope: Schema) -> Schema:
    payload = _object(op={"const": "event"}, channel=_CHANNEL, event=envelope)
    return _message(f"{spec.summary} {emitted_by(spec)}", payload, title=spec.type.value)


def _command(op: str) -> Schema:
    struct, summary = _COMMANDS[op]
    (_,), definitions = msgspec.json.schema_components([struct])
    (schema,) = definitions.values()
    return _message(summary, {key: value for key, value in schema.items() if key != "title"}, title=op)


def _replies() -> dict[str, Schema]:
    open_adjustment = {
        "allOf": [
            {"$ref": "#/components/schemas/AdjustmentData"},
            _object(
                remaining={"type": "array", "description": "Unfilled legs.", "items": {"type": "object"}}
            ),
        ]
    }
    time = {"type": ["string", "null"], "format": "date-time", "description": "The market clock."}
    granted = _object(op={"const": "subscribed"}, channel=_CHANNEL)
    granted["properties"] |= {
        "sequence": {**_SEQUENCE, "description": "On a portfolio: what follows begins after it."},
        "sequences": {
            "type": "object",
            "description": "On `adjustments`.",
            "additionalProperties": _SEQUENCE,
        },
    }
    failed = _object(op={"const": "error"}, code=_TEXT, message=_TEXT)
    failed["properties"]["channel"] = _CHANNEL
    return {
        "authenticated": _message("The key is valid.", _object(op={"const": "authenticated"})),
        "subscribed": _message("What was granted.", granted),
        "snapshot": _message(
            "Open adjustments as of `sequence`; events after it follow.",
            _object(
                op={"const": "snapshot"},
                channel=_CHANNEL,
                portfolio_id={"type": "string", "format": "uuid"},
                sequence=_SEQUENCE,
                adjustments={"type": "array", "items": open_adjustment},
            ),
        ),
        "rest": _message(
            "Between which prices a policy rests, on its channel and on that of its portfolio: at first, and "
            "when an end has moved by a tenth of the width or by 1 % of the price. At most one in 3 s.",
            {"$ref": "#/components/schemas/RestMessage"},
        ),
        "unsubscribed": _message("Done.", _object(op={"const": "unsubscribed"}, channel=_CHANNEL)),
        "pong": _message("Answers ping.", _object(op={"const": "pong"})),
        "heartbeat": _message("Every 25 s.", _object(op={"const": "heartbeat"}, time=time)),
        "error": _message("Why something was refused.", failed),
    }


def _websocket_channel(messages: list[str]) -> Schema:
    codes = ", ".join(f"{code.value} {code.name.lower()}" for code in CloseCode)
    return {
        "address": PATH,
        "servers": [{"$ref": "#/servers/api"}],
        "description": "Authenticate by `Authorization: Bearer <key>` or by the first message; never in the "
        f"URL. At most {MAX_SUBSCRIPTIONS} subscriptions a connection. A client that does not read is closed "
        f"and may resume. Close codes: {codes}; below 3500: reconnect and resume with `after`.",
        "messages": _references("#/components/messages", messages),
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


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
    tick = _object(
        kind=kinds, source=_TEXT, instrument=_TEXT, sequence=integer, time_ns=integer, value=decimal
    )
    tick["properties"]["instrument"] = _TEXT | {
        "description": "A listed instrument; of a `stress` or a `sentiment` the name of its index, of a "
        "`gas_price` the chain, of a `book_depth` or a `pool_depth` venue or chain, market or pool, and "
        "distance: `binance/BTC-USDT/50bps`."
    }
    tick["properties"]["confidence"] = decimal | {"description": "Half width of the source's own interval."}
    tick["properties"]["signature"] = _SIGNATURE
    packed_ticks = _object(packed=_packed(f"A msgpack array of ticks, each an array {_TICK}."))
    packed_ticks["properties"]["signature"] = _SIGNATURE
    change = "[kind, instrument, value, confidence, sources, quality, time_ns]"
    return {
        "tick": _message("One tick, as flat fields.", tick, content_type="application/x-redis-fields"),
        "packedTicks": _message(
            "Many ticks in one entry: at most one frame comes of it.",
            packed_ticks,
            content_type="application/msgpack",
        ),
        "frame": _message(
            "What changed in one step.",
            _object(
                f=_packed(
                    "A msgpack array [generation, sequence, time_ns, entry, stamp_ns, changes, covers]; "
                    f"each change is an array {change}. `covers` is how many entries it was made of. A "
                    "volatility of no sources that is not stale is read off the surface of other options."
                )
            ),
            content_type="application/msgpack",
        ),
        "streamedEvent": _message(
            "One event: tenant and portfolio as 16 bytes, and the envelope as clients receive it.",
            _object(**{short: {"type": "string", "description": meant} for short, meant in _SHORT.items()}),
            content_type="application/x-redis-fields",
        ),
        "rejectedTick": _message(
            "One refused tick.",
            _object(
                entry=_TEXT | {"description": "Id of its entry in `oracle:ticks`."},
                reason={"type": "string", "enum": [reason.value for reason in Rejection]},
                message=_TEXT,
                payload=_TEXT | {"description": "The beginning of what was sent."},
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
        operation["security"] = [{"$ref": "#/components/securitySchemes/key"}]
    return operation


def _references(where: str, names: list[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"{where}/{name}"} for name in names}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _message(summary: str, payload: Schema, *, title: str | None = None, content_type: str = "") -> Schema:
    message: Schema = {"title": title} if title else {}
    message |= {"summary": summary, "payload": payload}
    return message | ({"contentType": content_type} if content_type else {})
