"""The one wheel of a site's edge node, alone in an environment of its own."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "sidecars"
IMPORT_ALL = """
import importlib, pkgutil, sys
import interlink_sidecars as package
assert package.__file__.startswith(sys.prefix), package.__file__
for module in pkgutil.walk_packages(package.__path__, "interlink_sidecars."):
    importlib.import_module(module.name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.timeout(300)
def test_it_needs_neither_kubernetes_nor_jupyterhub(tmp_path: Path) -> None:
    """Every module of it imports, and brings nothing that a login node lacks."""
    venv.create(tmp_path / "env", with_pip=True)
    bin_ = tmp_path / "env" / "bin"
    install = [
        bin_ / "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        SOURCE,
    ]
    subprocess.run(install, check=True, cwd=tmp_path)
    python = [bin_ / "python", "-I", "-c", IMPORT_ALL]
    loaded = subprocess.run(
        python, check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.split()
    assert "interlink_sidecars" in loaded
    forbidden = ("kubernetes", "kubernetes_asyncio", "jupyterhub", "kubespawner")
    assert not set(loaded) & {*forbidden, "interlinkspawner", "interlink_vk", "pytest"}
    installed = subprocess.run(
        [bin_ / "pip", "list", "--format=freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.lower()
    assert not any(f"\n{name}" in installed for name in forbidden)
    for option in ("--help", "--generate-config"):
        subprocess.run(
            [bin_ / "interlink-sidecar", option], check=True, capture_output=True
        )
