"""`ballast up` on one machine: what it prints is enough for the other commands and for a client."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from app.entrypoints.cli.replay import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
BALLAST = [sys.executable, "-m", "app.entrypoints.cli"]


@pytest.fixture
def environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("BALLAST_")}


def ballast(environment, *arguments):
    return subprocess.run(
        [*BALLAST, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_port_that_is_taken_is_told_at_once(environment, tmp_path, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = ballast(environment, command, "--port", port, "--data-dir", str(tmp_path / "data"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"ballast: cannot listen on 127.0.0.1:{port} (Address already in use): choose another --port\n"
    )
    assert not (tmp_path / "data").exists()


async def test_up_is_found_by_its_data_and_by_what_it_prints(environment, tmp_path):
    port = free_port()
    data, printed = tmp_path / "data", tmp_path / "printed"
    with printed.open("wb") as output:
        up = subprocess.Popen(
            [*BALLAST, "up", "--data-dir", str(data), "--port", str(port)],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert up.poll() is None, printed.read_text()
        try:
            return urllib.request.urlopen(f"{address}/healthz", timeout=2).status == 200  # noqa: S310
        except OSError:
            return False

    try:
        await eventually(answers, timeout=60, what="the API answers")
        created = ballast(environment, "keys", "create", "--tenant", "t", "--data-dir", str(data))
        assert (created.returncode, created.stdout[:5]) == (0, "blst_"), created.stderr
        request = urllib.request.Request(  # noqa: S310
            f"{address}/v1/portfolios", headers={"Authorization": f"Bearer {created.stdout.strip()}"}
        )
        assert json.load(urllib.request.urlopen(request, timeout=5))["items"] == []  # noqa: S310
        text = printed.read_text()
        assert f"API   {address}\nDocs  {address}/docs\n" in text
        exports = dict(re.findall(r"^export (BALLAST_[A-Z_]+)=(.+)$", text, re.MULTILINE))
        pasted = {name: shlex.split(value)[0] for name, value in exports.items()}
        assert ballast({**environment, **pasted}, "export").returncode == 0
    finally:
        up.send_signal(signal.SIGINT)
        code = up.wait(60)
    assert code == 0, printed.read_text()
    refused = ballast(environment, "keys", "create", "--tenant", "t", "--data-dir", str(data))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"ballast: no servers run on {data}: start `ballast up`")
