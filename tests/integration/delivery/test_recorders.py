"""The witnesses, as processes, against the real ends."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from base64 import b64encode

import aiohttp

from app.adapters.webhooks.signing import sign
from tests.integration.delivery.receivers import receiver
from tests.waiting import eventually

SECRET = b"0123456789abcdef0123456789abcdef"


@contextlib.asynccontextmanager
async def recorder(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.lab.recorders", *map(str, arguments), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def sequences(path):
    return [line["sequence"] for line in lines(path)]


async def test_the_websocket_recorder_resumes_where_it_was_cut_off(stream, feed, committed, tmp_path):
    portfolio = await committed.portfolio(stream.tenant)
    await committed.commit(stream.tenant, portfolio, 2)
    (tmp_path / "key").write_text(stream.keys["good"] + "\n")
    out = tmp_path / "out.jsonl"
    async with recorder("websocket", "--url", stream.url, "--key-file", tmp_path / "key", "--out", out):
        await eventually(lambda: sequences(out) == [1, 2], timeout=20)
        for expected in range(3, 9, 2):
            await feed.publish(await committed.commit(stream.tenant, portfolio))
            await eventually(lambda n=expected: len(sequences(out)) == n)
            for connection in list(stream.hub.listeners.receivers):
                connection.end(3008)
            await feed.publish(await committed.commit(stream.tenant, portfolio))
            await eventually(lambda n=expected: len(sequences(out)) == n + 1)
    assert sequences(out) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {line["portfolio_id"] for line in lines(out)} == {str(portfolio)}
    assert len({line["event_id"] for line in lines(out)}) == 8


async def test_the_websocket_recorder_gives_up_on_a_bad_key(stream, tmp_path):
    (tmp_path / "key").write_text("wrong")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.lab.recorders", "websocket", "--url", stream.url),
        *("--key-file", str(tmp_path / "key"), "--out", str(tmp_path / "out")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said == b"recorder: refused: send a valid key or ticket first\n"


async def test_the_webhook_recorder_verifies(tmp_path):
    (tmp_path / "secret").write_text("whsec_" + b64encode(SECRET).decode())
    out = tmp_path / "out.jsonl"
    async with receiver() as free:
        port = free.port
    event = {
        "id": "evt_1",
        "type": "t",
        "portfolio_id": "p",
        "sequence": 1,
        "data": {"market_position": "1-2"},
    }
    body = json.dumps(event).encode()

    async def post(secret):
        now = int(time.time())
        headers = {
            "webhook-id": "evt_1",
            "webhook-timestamp": str(now),
            "webhook-signature": sign(secret, "evt_1", now, body),
        }
        try:
            async with session.post(f"http://127.0.0.1:{port}/", data=body, headers=headers) as response:
                return response.status
        except aiohttp.ClientError:
            return None

    options = ("--port", port, "--secret-file", tmp_path / "secret", "--out", out)
    async with aiohttp.ClientSession() as session, recorder("webhook", *options):
        assert await eventually(lambda: post(SECRET), timeout=20) == 204
        assert await post(bytes(32)) == 401
        assert [line["verified"] for line in lines(out)] == [True, False]
        assert lines(out)[0]["market_position"] == "1-2"
