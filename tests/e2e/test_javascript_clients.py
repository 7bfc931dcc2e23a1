"""The programs of docs/clients.md, as they stand there, on the official packages, and the roles they meet."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from app.entrypoints.cli.local import environment
from app.entrypoints.cli.replay import free_port
from app.settings import Settings
from tests import factories
from tests.integration.api.client import delta_neutral, portfolio_document
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "tests" / "javascript" / "node_modules"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "ws").is_dir(),
    reason="no packages of JavaScript clients: `npm ci --ignore-scripts` in tests/javascript brings them",
)


@asynccontextmanager
async def running(*command, env, log):
    """A process that ends with the block; `log` is what it says."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=env, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


@pytest.fixture
async def service(engine, database_url, redis_url, tmp_path):
    """The roles that serve clients, each a process: their address, and a client with a key."""
    await factories.create_market(engine)
    settings = Settings(
        database_url=database_url, redis_url=redis_url, webhook_allowed_networks=("127.0.0.0/8",)
    )
    port, env = free_port(), os.environ | environment(settings)
    role = (sys.executable, "-m", "app.entrypoints.cli")
    async with (
        running(*role, "api", "--port", str(port), env=env, log=tmp_path / "api"),
        running(*role, "courier", env=env, log=tmp_path / "courier"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):

        async def answers():
            try:
                return (await http.get("/readyz")).is_success
            except httpx.TransportError:
                return False

        await eventually(answers, timeout=60, what="the API answers")
        key = await factories.create_key(engine, await factories.create_tenant(engine))
        http.headers["Authorization"] = f"Bearer {key}"
        http.port, http.key = port, key
        yield http


@pytest.fixture
def program(tmp_path):
    """Takes a program out of the page, and runs it; what it printed so far, line by line."""
    (tmp_path / "node_modules").symlink_to(PACKAGES)

    @asynccontextmanager
    async def run(name, **env):
        page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
        (source,) = re.findall(rf"```js\n// {re.escape(name)}\n(.*?)\n```", page, re.DOTALL)
        (tmp_path / name).write_text(source, encoding="utf-8")
        log = tmp_path / f"{name}.log"
        variables = {key: str(value) for key, value in env.items()}
        async with running("node", str(tmp_path / name), env=os.environ | variables, log=log):
            yield lambda: [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]

    return run


async def create(http, path, document):
    answer = await http.post(path, json=document, headers={"Idempotency-Key": uuid4().hex})
    assert answer.is_success, answer.text
    return answer.json()


async def portfolio_with_a_policy(http):
    portfolio = await create(http, "/v1/portfolios", portfolio_document())
    policy = await create(http, f"/v1/portfolios/{portfolio['id']}/policies", delta_neutral())
    return portfolio["id"], f"/v1/policies/{policy['id']}"


class Wire:
    """Between a client and the service: it can be cut."""

    def __init__(self, port):
        self._port = port
        self._open = set()
        self.dialled = 0

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()

    def cut(self):
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader, writer):
        self.dialled += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        both = {writer, far_writer}
        self._open |= both
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        self._open -= both

    async def _pass_on(self, reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def test_the_client_of_the_stream_goes_on_where_it_was_cut_off(service, program):
    portfolio, policy = await portfolio_with_a_policy(service)
    wire = Wire(service.port)
    async with wire.listening() as port:
        url = f"ws://127.0.0.1:{port}"
        async with program(
            "stream.mjs", BALLAST_URL=url, BALLAST_KEY=service.key, PORTFOLIO=portfolio
        ) as heard:
            for turn in range(4):
                await eventually(lambda turn=turn: len(heard()) == 2 * turn + 1, timeout=30)
                wire.cut()
                for verb in ("disable", "enable"):
                    await create(service, f"{policy}/{verb}", None)
            await eventually(lambda: len(heard()) == 9, timeout=30)
            assert [event["sequence"] for event in heard()] == list(range(1, 10))
            assert [event["type"] for event in heard()] == [
                "policy.created", *["policy.disabled", "policy.enabled"] * 4
            ]  # fmt: skip
            assert wire.dialled >= 5


async def test_the_receiver_of_webhooks_believes_nobody_else(service, program):
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook"
    endpoint = await create(service, "/v1/webhooks", {"url": url, "event_types": ["policy.created"]})
    async with program("receiver.mjs", WEBHOOK_SECRET=endpoint["secret"], PORT=port) as heard:
        portfolio, _ = await portfolio_with_a_policy(service)
        (event,) = await eventually(heard, timeout=30)
        assert (event["type"], event["portfolio_id"]) == ("policy.created", portfolio)
        body = json.dumps(event | {"sequence": 2, "id": "evt_2"}).encode()
        async with httpx.AsyncClient() as stranger:

            async def says(secret, sent, *, seconds_ago=0):
                at = int(time.time()) - seconds_ago
                headers = signed_headers(secret, "evt_2", at, body)
                return (await stranger.post(url, content=sent, headers=headers)).status_code

            assert await says("whsec_" + "A" * 43 + "=", body) == 400
            assert await says(endpoint["secret"], body + b" ") == 400
            assert await says(endpoint["secret"], body, seconds_ago=301) == 400
            assert len(heard()) == 1
            assert await says(endpoint["secret"], body) == 204
            assert await says(endpoint["secret"], body) == 204
        await eventually(lambda: [told["id"] for told in heard()] == [event["id"], "evt_2"])


def signed_headers(secret, message_id, at, body):
    moment = datetime.fromtimestamp(at, UTC)
    signature = Webhook(secret).sign(message_id, moment, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}
