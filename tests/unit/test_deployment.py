"""docker-compose.yml and Dockerfile, as far as they can be held to account where no container engine runs.

tests/e2e/test_deployment.py runs their commands.
"""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft202012Validator

from app.entrypoints.cli.feed import parse_instruments

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ROLES = {"api", "oracle", "evaluator", "executor", "courier", "feed"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PINNED_IMAGE = re.compile(r"^[a-z0-9/._-]+:\d+\.\d+(\.\d+)?(-[a-z0-9]+)*$")


def instructions(text):
    """(name, rest) of every Dockerfile instruction, with lines joined and comments dropped."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def test_compose_file_follows_its_specification():
    schema = get_builtin_schema("vendor.compose-spec")
    Draft202012Validator.check_schema(schema)
    errors = Draft202012Validator(schema).iter_errors(COMPOSE)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_schema_would_notice():
    broken = {"services": {"api": {"image": "ballast", "comand": ["api"]}}}
    assert not Draft202012Validator(get_builtin_schema("vendor.compose-spec")).is_valid(broken)


def test_every_role_has_a_service():
    assert {service["command"][0] for service in OURS.values()} == ROLES | {"migrate"}


def test_feeds_start_when_they_are_asked_for():
    """They need sources that are reached and instruments that are listed."""
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name for name, asked in profiles.items() if asked} == {"feed-kraken"}
    name, *_, instruments = OURS["feed-kraken"]["command"][1:]
    assert profiles["feed-kraken"] == ["feeds"]
    assert (name, parse_instruments(instruments)) == ("kraken", {"BTC-USD": "BTC/USD"})


def test_references_lead_somewhere():
    volumes = COMPOSE["volumes"]
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if condition["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], other
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in volumes, name


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_and_closed(name):
    service = SERVICES[name]
    assert PINNED_IMAGE.match(service["image"])
    assert "restart" in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    if name in OURS:
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
    else:
        assert "ports" not in service


def test_our_image_has_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {service["image"] for service in OURS.values()} == {f"ballast:{version}"}


def test_no_password_has_a_default_and_each_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)(:[^}]*)?\}", json.dumps(COMPOSE)))
    secrets = {name: rule for name, rule in used if "PASSWORD" in name}
    assert set(secrets) == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert all(rule.startswith(":?") for rule in secrets.values())
    example = (ROOT / "deploy" / ".env.example").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert set(values) == {name for name, _ in used}
    assert not any(values[name] for name in secrets)


def test_redis_keeps_streams():
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_dockerfile_builds_from_the_hashed_lock_and_does_not_run_as_root():
    found = instructions(DOCKERFILE)
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert len(bases) == 2
    assert all(PINNED_IMAGE.match(base) for base in bases)
    assert len(set(bases)) == 1, "what is built on one Python runs on another"
    final = found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]
    assert dict(final)["USER"].split(":")[0] not in {"root", "0"}
    assert "HEALTHCHECK" in dict(final)
    runs = [json.loads(rest) for name, rest in found if name == "RUN"]
    installs = [run for run in runs if "install" in run]
    assert all("--require-hashes" in run or "--no-deps" in run for run in installs)


def test_dockerfile_copies_what_is_there_and_not_ignored():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for name, rest in instructions(DOCKERFILE):
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignore


def test_health_is_asked_alike_in_dockerfile_and_compose():
    (declared,) = [rest for name, rest in instructions(DOCKERFILE) if name == "HEALTHCHECK"]
    command = json.loads(declared[declared.index("CMD ") + 4 :])
    assert SERVICES["api"]["healthcheck"]["test"] == ["CMD", *command]
