"""The floors that are plain C, compiled as fast as gcc can make them."""

import ctypes
import shutil
import subprocess
from pathlib import Path

_FAST = ("-O3", "-march=native", "-ffast-math", "-fPIC")


def compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


def c_library(source: Path, directory: Path) -> ctypes.CDLL:
    """Linked without -ffast-math: that would have the whole process flush subnormal numbers to zero."""
    found = compiler()
    if found is None:
        raise RuntimeError(f"{source.name} needs a C compiler (gcc or cc), and none is on the PATH")
    compiled, library = directory / f"{source.stem}.o", directory / f"{source.stem}.so"
    subprocess.run([found, *_FAST, "-c", str(source), "-o", str(compiled)], check=True)
    subprocess.run([found, "-shared", str(compiled), "-lm", "-lmvec", "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))
