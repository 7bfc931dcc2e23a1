"""What pyproject.toml names, docs/dependencies.md explains and the locks pin."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("runtime.txt", "feeds.txt", "dev.txt")
PINNED = re.compile(r"^([a-z0-9._-]+)==\S+", re.MULTILINE)


def named(requirements):
    return sorted(re.match(r"[A-Za-z0-9._-]+", requirement).group() for requirement in requirements)


def explained(section):
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    body = text.split(f"## {section}")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| \S.{20,} \|$", body, re.MULTILINE)


def pinned(lock):
    return set(PINNED.findall((ROOT / "requirements" / lock).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("section", "requirements"),
    [
        ("At run time", PROJECT["dependencies"]),
        ("For feeds of exchanges and chains", PROJECT["optional-dependencies"]["feeds"]),
        ("For tests and checks", PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_every_dependency_has_its_line(section, requirements):
    assert explained(section) == named(requirements)


def test_locks_pin_what_is_named():
    runtime = set(named(PROJECT["dependencies"]))
    feeds, dev = (set(named(PROJECT["optional-dependencies"][extra])) for extra in ("feeds", "dev"))
    assert runtime <= pinned("runtime.txt")
    assert runtime | feeds <= pinned("feeds.txt")
    assert runtime | feeds | dev <= pinned("dev.txt")


def test_the_development_lock_contains_the_others():
    """Else `make test` would try other versions than `make demo` runs."""
    pins = {
        lock: set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / lock).read_text("utf-8"), re.MULTILINE))
        for lock in LOCKS
    }
    assert pins["runtime.txt"] <= pins["feeds.txt"] <= pins["dev.txt"]


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_whole_whatever_the_python(lock, python):
    """What a package asks for only on some versions has a pin too: Debian 12 brings 3.11.2."""
    version = {"python_full_version": python, "python_version": python[:4], "extra": ""}
    asked = {
        canonicalize_name(requirement.name)
        for package in pinned(lock)
        for requirement in map(Requirement, _requirements(package))
        if requirement.marker is None or requirement.marker.evaluate(version)
    }
    assert asked - {canonicalize_name(name) for name in pinned(lock)} == set()


@pytest.mark.parametrize(
    "lock", sorted(ROOT.glob("tests/*/package-lock.json")), ids=lambda lock: lock.parent.name
)
def test_packages_of_npm_are_bound_by_their_contents_alone(lock):
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    brought = [package for place, package in packages.items() if place]
    assert brought
    assert [package for package in brought if "resolved" in package or "integrity" not in package] == []


def _requirements(package):
    try:
        return requires(package) or []
    except PackageNotFoundError:
        return []  # pinned for another Python than this one


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_hashed_and_no_address_is_inside(lock):
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)", text)
