"""What docker-compose.yml and the Dockerfile run, run here: installed as in the image, on real servers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.waiting import eventually

pytest.importorskip("app.entrypoints.cli", reason="the command `ballast` is not there yet")

ROOT = Path(__file__).resolve().parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
FEEDS = {name for name, service in OURS.items() if "profiles" in service}
STOP_SECONDS = 30  # stop_grace_period


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The package as the image has it: from what the Dockerfile copies, by the command it runs."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    context, target = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for source in " ".join(copied).split():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (context / source).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, context / source)
    (command,) = [run for run in re.findall(r"^RUN (.+)$", dockerfile, re.MULTILINE) if "--no-deps" in run]
    _pip, *arguments = json.loads(command)
    subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet", "--target", target],
        cwd=context,
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture(scope="module")
def cache(image, tmp_path_factory):
    """The compiled loops, as the Dockerfile has them made."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (compiling,) = [run for run in re.findall(r"^RUN (.+)$", dockerfile, re.MULTILINE) if '"compile"' in run]
    _ballast, *arguments = json.loads(compiling)
    kept = str(tmp_path_factory.mktemp("cache"))
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(image), "NUMBA_CACHE_DIR": kept}
    subprocess.run(ballast(image, *arguments), env=own, check=True, capture_output=True, cwd=image)
    return kept


@pytest.fixture
def environment(image, cache, database_url, redis_url):
    """As the compose file sets it, with the addresses of this test."""
    addresses = {"BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url}
    assert all(set(service["environment"]) == set(addresses) for service in OURS.values())
    path = f"{image / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(image), "NUMBA_CACHE_DIR": cache, **addresses}


def ballast(image, *arguments):
    return [str(image / "bin" / "ballast"), *arguments]


@pytest.mark.parametrize("name", OURS)
def test_help_knows_every_flag_that_is_used(image, name):
    command, *arguments = OURS[name]["command"]
    shown = subprocess.run(
        ballast(image, command, "--help"),
        env={"PYTHONPATH": str(image), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
        cwd=image,
    ).stdout
    for flag in (argument for argument in arguments if argument.startswith("--")):
        assert flag in shown


def test_the_image_shows_its_help_when_told_nothing(image):
    shown = subprocess.run(
        ballast(image, "--help"),
        env={"PYTHONPATH": str(image)},
        capture_output=True,
        text=True,
        check=True,
        cwd=image,
    ).stdout
    assert all(service["command"][0] in shown for service in OURS.values())


def test_migrate(image, environment, empty_database_url, tmp_path):
    own = {**environment, "BALLAST_DATABASE_URL": empty_database_url}
    for _ in range(2):
        subprocess.run(
            ballast(image, *SERVICES["migrate"]["command"]),
            env=own,
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )


@pytest.mark.parametrize("name", sorted(FEEDS))
def test_a_feed_says_what_has_to_be_listed_first(image, database_url, redis_url, tmp_path, name):
    """Before it asks a source for anything."""
    addresses = {"BALLAST_DATABASE_URL": database_url, "BALLAST_REDIS_URL": redis_url}
    own = {"PATH": f"{image / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(image), **addresses}
    done = subprocess.run(
        ballast(image, *OURS[name]["command"]),
        env=own, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ballast: no instrument BTC-USD is listed"), done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("name", sorted(OURS.keys() - FEEDS - {"migrate"}))
async def test_role_starts_and_stops(image, environment, tmp_path, name):
    """Up to where it says that it has started (the API: until its health check passes), then SIGTERM."""
    port = free_port()
    command = [argument.replace("8000", port) for argument in OURS[name]["command"]]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ballast(image, *command), env=environment, cwd=tmp_path, stdout=output, stderr=output
        )

    def healthy():
        assert process.poll() is None, log.read_text()
        if name != "api":
            return f"{name}_started" in log.read_text()
        _cmd, _python, *arguments = OURS["api"]["healthcheck"]["test"]
        asked = [argument.replace(":8000", f":{port}") for argument in arguments]
        return not subprocess.run([sys.executable, *asked], capture_output=True, check=False).returncode

    try:
        await eventually(healthy, timeout=30, what=f"{name} is up")
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_every_variable_is_a_setting():
    from app.settings import Settings

    prefix = Settings.model_config["env_prefix"].upper()
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields}
    assert {name for service in OURS.values() for name in service["environment"]} <= known
