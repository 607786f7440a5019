"""Where the front end's sources are, and its own tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LABEXTENSION = Path(__file__).parents[2] / "labextension"


def jlpm(*args: str) -> subprocess.CompletedProcess[str]:
    """Run JupyterLab's package manager; its output is one text."""
    return subprocess.run(
        [Path(sys.executable).with_name("jlpm"), *args],
        cwd=LABEXTENSION,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
