"""The hub's part on the oldest JupyterHub and KubeSpawner that we promise to run on."""

from __future__ import annotations

import subprocess

import pytest

from deploy.local import environments
from deploy.local.bootstrap import ROOT

PARTS = ["tests/spawner", "tests/service", "tests/deploy"]


@pytest.mark.cluster
@pytest.mark.node
@pytest.mark.browser
@pytest.mark.timeout(900)
def test_the_hubs_part_passes_there_too() -> None:
    hub = environments.oldest_hub(environments.tools())
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning"]
    ended = subprocess.run(
        [hub / "bin" / "python", "-m", "pytest", *options, *PARTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
