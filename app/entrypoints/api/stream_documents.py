"""`/v1/stream` as AsyncAPI describes it: commands from the structs that parse them, answers, close codes."""

from typing import Any, Final

import msgspec

from app.entrypoints.api.outgoing import QUEUE_LIMIT
from app.entrypoints.api.serving import (
    LARGEST_CLIENT_MESSAGE,
    MOST_FRAGMENTS,
    PING_SECONDS,
    PONG_SECONDS,
)
from app.entrypoints.api.stream_channels import (
    DEFAULT_INTERVAL_MS,
    GREATEST_INTERVAL_MS,
    LEAST_INTERVAL_MS,
    MAX_SUBSCRIPTIONS,
)
from app.entrypoints.api.stream_connection import COMMANDS_AT_ONCE, COMMANDS_PER_SECOND
from app.entrypoints.api.stream_messages import (
    CLOSE_REASONS,
    DO_NOT_RETURN,
    ApproveCommand,
    AuthenticateCommand,
    CloseCode,
    PingCommand,
    RejectCommand,
    SubscribeCommand,
    UnsubscribeCommand,
)
from app.entrypoints.api.websocket import PATH

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
CHANNEL: Final[Schema] = {"type": "string", "examples": ["portfolio.0b6f7c52-6f0e-4d4e-9a55-5c1f2f3a9b10"]}
CURSOR: Final[Schema] = {
    "type": "string",
    "description": "Opaque. With the epoch, where to recover from; 0 is the beginning.",
    "examples": ["12"],
}

_COMMANDS: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "authenticate": (
        AuthenticateCommand,
        "First message, within 5 s, of a client whose handshake carried neither a key nor a ticket: either.",
    ),
    "subscribe": (
        SubscribeCommand,
        (
            "`portfolio.<id>`, `policy.<id>`: what of its portfolio names it, and `adjustments`: all of the "
            "tenant, tell events and keep them. `recover` is where the client stopped: everything after it "
            "comes, or `recovered` is false and a snapshot comes; never a part. Without it: a snapshot. "
            "`risk.<portfolio>` and `market.<instrument>` tell the newest, at most every `interval_ms` "
            f"({LEAST_INTERVAL_MS} to {GREATEST_INTERVAL_MS}, else {DEFAULT_INTERVAL_MS})."
        ),
    ),
    "unsubscribe": (UnsubscribeCommand, "No more of this channel."),
    "ping": (PingCommand, "Answered with pong."),
    "approve": (
        ApproveCommand,
        "As `POST /v1/adjustments/{id}/approve`; `id` is the Idempotency-Key. Needs the scope `trade`.",
    ),
    "reject": (RejectCommand, "As `POST /v1/adjustments/{id}/reject`, likewise."),
}

_CODES: Final = (
    "Of a channel `not_found`, also when what it tells of is deleted, `invalid`, or `unavailable`: ask again."
    " Of approve and reject that of the problem document. Before a close `invalid_token`, `denied` or "
    "`bad_request`."
)


def commands() -> dict[str, Schema]:
    return {f"{op}Command": _command(op) for op in _COMMANDS}


def _command(op: str) -> Schema:
    struct, summary = _COMMANDS[op]
    _, definitions = msgspec.json.schema_components([struct], ref_template="{name}")
    return described(summary, _inlined(definitions[struct.__name__], definitions), title=op)


def _inlined(node: Any, definitions: Schema) -> Any:
    """Without references and titles: a command is small enough to stand in one place."""
    if isinstance(node, list):
        return [_inlined(member, definitions) for member in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(definitions[node["$ref"]], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "title"}


def replies() -> dict[str, Schema]:
    time = {"type": ["string", "null"], "format": "date-time", "description": "The market clock."}
    failed = record(op={"const": "error"}, code=TEXT | {"description": _CODES}, message=TEXT)
    failed["properties"] |= {
        "channel": CHANNEL,
        "id": TEXT | {"description": "Of the command that is refused."},
        "status": {"type": "integer", "description": "What HTTP would answer to that command."},
    }
    return {
        "authenticated": described("Whoever it is may go on.", record(op={"const": "authenticated"})),
        "subscribed": described("What was granted.", _granted()),
        "snapshot": described("Open adjustments as of `cursor`; events after it follow.", _snapshot()),
        "rest": described(
            "Between which prices a policy rests, on its channel and on that of its portfolio: at first, and "
            "when an end has moved by a tenth of the width or by 1 % of the price. At most one in 3 s.",
            {"$ref": "#/components/schemas/RestMessage"},
        ),
        "risk": described("Metrics, conflated.", {"$ref": "#/components/schemas/RiskMessage"}),
        "market": described("Values, conflated.", {"$ref": "#/components/schemas/MarketMessage"}),
        "result": described(
            "An approve or reject that was done; `replayed` where it had been done before.",
            record(
                op={"const": "result"},
                id=TEXT,
                replayed={"type": "boolean"},
                adjustment={"$ref": "#/components/schemas/ShownAdjustment"},
            ),
        ),
        "unsubscribed": described("Done.", record(op={"const": "unsubscribed"}, channel=CHANNEL)),
        "pong": described("Answers ping.", record(op={"const": "pong"})),
        "heartbeat": described("Every 25 s.", record(op={"const": "heartbeat"}, time=time)),
        "error": described("Why something was refused.", failed),
    }


def _granted() -> Schema:
    granted = record(op={"const": "subscribed"}, channel=CHANNEL)
    granted["properties"] |= {
        "epoch": TEXT | {"description": "Which log it is: another one after a restored backup."},
        "cursor": CURSOR,
        "recovered": {
            "type": "boolean",
            "description": "True: everything after the cursor follows. False: a snapshot does.",
        },
        "interval_ms": {"type": "integer", "description": "On `risk` and `market`, instead of the others."},
    }
    return granted


def _snapshot() -> Schema:
    unfilled = record(
        remaining={"type": "array", "description": "Unfilled legs.", "items": {"type": "object"}}
    )
    adjustment = {"allOf": [{"$ref": "#/components/schemas/AdjustmentData"}, unfilled]}
    return record(
        op={"const": "snapshot"},
        channel=CHANNEL,
        cursor=CURSOR,
        adjustments={"type": "array", "items": adjustment},
        last={"type": "boolean", "description": "False: more of this snapshot follows."},
    )


def stream_channel(messages: Schema) -> Schema:
    codes = "; ".join(f"{code.value} ({CLOSE_REASONS[code]})" for code in CloseCode)
    return {
        "address": PATH,
        "servers": [{"$ref": "#/servers/api"}],
        "description": "Authenticate by `Authorization: Bearer <key>`, by `?ticket=` or by the first "
        "message; a key is never in the address. A browser's Origin must be allowed, else HTTP 403. At most "
        f"{MAX_SUBSCRIPTIONS} subscriptions a connection, {LARGEST_CLIENT_MESSAGE} bytes and "
        f"{MOST_FRAGMENTS} fragments a message (else 1009), {COMMANDS_AT_ONCE} commands at once and "
        f"{COMMANDS_PER_SECOND} a second (else read slower), {QUEUE_LIMIT} bytes waiting to be read. Pings "
        f"come every {PING_SECONDS:.0f} s, and a pong has to within {PONG_SECONDS:.0f} s. Close codes: "
        f"{codes}. Below {DO_NOT_RETURN}, 1009 apart: reconnect and recover; from it on: do not come back "
        "like this.",
        "messages": messages,
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def record(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def described(summary: str, payload: Schema, *, title: str | None = None, content_type: str = "") -> Schema:
    message: Schema = {"title": title} if title else {}
    message |= {"summary": summary, "payload": payload}
    return message | ({"contentType": content_type} if content_type else {})
