"""Witnesses: processes that write down what reaches a client, for demo, tests and benchmarks.

    python -m app.lab.recorders websocket --url ws://… --key-file FILE --out FILE
    python -m app.lab.recorders webhook --port N --secret-file FILE --out FILE

One JSON line per event received, written out at once: event_id, type, portfolio_id, sequence, verified,
monotonic_ns, wall_ns, and market_position where the event has one. A repeated event is a repeated line.
They know the public interfaces only, as a client would.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

_RECONNECT_SECONDS = 0.2
_DO_NOT_COME_BACK = 3500
_SILENCE_SECONDS = 60.0  # two heartbeats missed
_SUBSCRIBE = {"op": "subscribe", "channel": "adjustments"}


class RecorderError(Exception):
    """What the recorder was given cannot work."""


class Ledger:
    """The file of lines, and the last sequence of each portfolio in it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.last: dict[str, int] = {}

    def write(self, event: Mapping[str, Any], *, verified: bool | None) -> None:
        monotonic_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        portfolio, sequence = event["portfolio_id"], event["sequence"]
        self.last[portfolio] = max(self.last.get(portfolio, 0), sequence)
        line = {
            "event_id": event["id"],
            "type": event["type"],
            "portfolio_id": portfolio,
            "sequence": sequence,
            "verified": verified,
            "monotonic_ns": monotonic_ns,
            "wall_ns": wall_ns,
            "market_position": event["data"].get("market_position"),
        }
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


async def record_websocket(url: str, key: str, ledger: Ledger, *, from_now: bool = False) -> None:
    """All of the tenant's events, from the beginning unless `from_now`; comes back wherever it was cut off.

    `verified` is null: a WebSocket carries no signature.
    """
    recover: dict[str, str] | None = None if from_now else {"cursor": "0"}
    epoch, known = "", dict[str, int]()
    while True:
        try:
            async with connect(
                url, additional_headers={"Authorization": f"Bearer {key}"}, compression=None
            ) as socket:
                while True:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        message = json.loads(await socket.recv())
                    if message["op"] == "event":
                        recover = {"epoch": epoch, "cursor": message["cursor"]}
                        event = message["event"]
                        if event["sequence"] > known.get(event["portfolio_id"], 0):
                            ledger.write(event, verified=None)
                    elif message["op"] == "authenticated":
                        # A cursor lags behind the events that carry it: what is known may come once more.
                        known = dict(ledger.last)
                        await socket.send(json.dumps(_SUBSCRIBE | {"recover": recover}))
                    elif message["op"] == "subscribed":
                        epoch = message["epoch"]
                        recover = {"epoch": epoch, "cursor": message["cursor"]}
                    elif message["op"] == "error":
                        raise RecorderError(f"refused: {message['message']}")
        except InvalidStatus as error:
            if error.response.status_code in {401, 403, 404}:
                raise RecorderError(f"{url} answers {error.response.status_code}") from error
        except WebSocketException as error:
            received = getattr(error, "rcvd", None)
            if received is not None and received.code >= _DO_NOT_COME_BACK:
                raise RecorderError(f"closed with {received.code}") from error
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(_RECONNECT_SECONDS)


async def record_webhooks(port: int, secret: bytes, ledger: Ledger) -> None:
    """Answers 204 once the line is written; what does not verify is written down too, and refused."""
    receiver = Webhook(secret)

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            receiver.verify(body, dict(request.headers), json_parse=False)
            verified = True
        except (WebhookVerificationError, ValueError):  # the package leaks ValueError on malformed headers
            verified = False
        try:
            event = json.loads(body)
            ledger.write(event, verified=verified and event["id"] == request.headers["webhook-id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.Response(status=400)
        return web.Response(status=204 if verified else 401)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def read_secret(path: Path) -> bytes:
    """`whsec_…`, as the API gave it."""
    text = path.read_text(encoding="utf-8").strip()
    return b64decode(text.removeprefix("whsec_") + "==")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.lab.recorders", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    websocket = kinds.add_parser("websocket", help="record every event of the key's tenant")
    websocket.add_argument("--url", required=True, help="ws://HOST:PORT/v1/stream")
    websocket.add_argument("--key-file", type=Path, required=True, help="a file with the API key")
    websocket.add_argument("--from-now", action="store_true", help="leave out what happened before")
    webhook = kinds.add_parser("webhook", help="receive, verify and record webhooks")
    webhook.add_argument("--port", type=int, required=True)
    webhook.add_argument("--secret-file", type=Path, required=True, help="a file with the whsec_… secret")
    for kind in (websocket, webhook):
        kind.add_argument("--out", type=Path, required=True, help="the file of lines, begun anew")
    return parser.parse_args(arguments)


async def _run(options: argparse.Namespace, out: TextIO) -> None:
    task = asyncio.ensure_future(
        record_websocket(
            options.url,
            options.key_file.read_text(encoding="utf-8").strip(),
            Ledger(out),
            from_now=options.from_now,
        )
        if options.kind == "websocket"
        else record_webhooks(options.port, read_secret(options.secret_file), Ledger(out))
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(arguments: list[str]) -> int:
    options = _arguments(arguments)
    try:
        with options.out.open("w", encoding="utf-8") as out:
            asyncio.run(_run(options, out))
    except (OSError, RecorderError, ValueError) as error:
        print(f"recorder: {error}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
