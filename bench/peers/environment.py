"""The peers' environment, `.ballast/bench-peers`: made anew when its requirements change."""

import subprocess
import sys
from pathlib import Path

from bench.measurement import Unavailable

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_PLACE = Path(__file__).resolve().parents[2] / ".ballast" / "bench-peers"


def peers_python() -> Path:
    """Its interpreter; Unavailable, with pip's last word, where the packages do not install."""
    python, stamp = _PLACE / "bin" / "python", _PLACE / "installed.txt"
    wanted = _REQUIREMENTS.read_text(encoding="utf-8")
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        _run(sys.executable, "-m", "venv", "--clear", str(_PLACE))
        _run(str(python), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS))
        stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines() or ["it says nothing"]
        raise Unavailable(f"the packages of {_REQUIREMENTS.name} do not install: {said[-1]}")
