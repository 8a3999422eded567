"""Where a file comes from: the versions and the commit of the code that wrote it. Same settings,
seed, versions and number of threads give the same bits on the same kind of CPU; another version, a
GPU or another CPU need not.
"""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dinolite import __version__

HERE = Path(__file__).resolve().parent


def provenance() -> dict[str, str]:
    """Versions and commit; never a host name, a user or a path."""
    return {
        "dinolite": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "processor": platform.machine(),
    }


@cache
def commit(also: tuple[str, ...] = ()) -> str:
    """The commit of a clone, "+changes" where the package (or `also`) differs from it; "unknown"
    for an installed package. Asked once: what was imported does not change with the files."""
    git = ["git", "-C", str(HERE.parent)]
    try:
        top = subprocess.run([*git, "rev-parse", "HEAD:dinolite"], capture_output=True, text=True)
        if top.returncode:
            return "unknown"
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "dinolite", *also], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return name.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
