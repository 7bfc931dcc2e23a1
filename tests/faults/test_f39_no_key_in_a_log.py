"""FAULTS 39: whoever reads the logs learns no key and no secret, wherever a client may have put it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests import factories
from tests.waiting import eventually

WRONG = "blst_a-key-that-somebody-mistyped"
CLOSES_THE_TABLE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$;
CREATE TRIGGER closed AFTER INSERT ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@contextlib.asynccontextmanager
async def serving(log, **environment):
    """The API as a process of its own that logs all it can."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.entrypoints.cli", "api", "--port", str(port),
            env=os.environ | {"BALLAST_LOG_LEVEL": "debug"} | environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        await eventually(lambda: "api_started" in log.read_text(), timeout=30, what="the API is up")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_f39_no_key_and_no_secret_is_in_a_log(engine, asyncpg_pool, database_url, redis_url, tmp_path):
    await factories.create_market(engine)
    key = await factories.create_key(engine, await factories.create_tenant(engine))
    log = tmp_path / "log"
    secrets = [key, WRONG]
    async with (
        serving(log, BALLAST_DATABASE_URL=database_url, BALLAST_REDIS_URL=redis_url) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1") as client,
    ):

        async def post(path, body, once):
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": once}
            return await client.post(path, json=body, headers=headers)

        for given in (key, WRONG):
            await client.get("/portfolios", headers={"Authorization": f"Bearer {given}"})
            await client.get("/portfolios", params={"key": given})
            for headers, said in (({"Authorization": f"Bearer {given}"}, "ping"), ({}, "authenticate")):
                uri = f"ws://127.0.0.1:{port}/v1/stream?key={given}"
                async with connect(uri, additional_headers=headers) as stream:
                    with contextlib.suppress(ConnectionClosed):  # shown out before it speaks
                        await stream.send(json.dumps({"op": said, "key": given}))
                        await stream.recv()
        secrets += ((await post("/keys", {"name": "k", "scopes": ["read"]}, "1")).json()["key"],)
        hook = {"url": "https://example.com/hook"}
        secrets += ((await post("/webhooks", hook, "2")).json()["secret"],)
        await asyncpg_pool.execute(CLOSES_THE_TABLE)
        failed = await post("/webhooks", hook, "3")
        assert (failed.status_code, failed.json()["detail"]) == (500, "it was logged")
    logged = log.read_text()
    assert "request_failed" in logged
    assert "INSERT INTO webhook_endpoints" in logged
    assert [secret for secret in secrets if secret in logged] == []
    assert "parameters: (" not in logged
