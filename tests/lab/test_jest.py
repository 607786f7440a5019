"""Jest's tests of the front end: one test here for each of its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.lab.frontend import LABEXTENSION, jlpm

SPECS = sorted((LABEXTENSION / "src" / "__tests__").glob("*.spec.ts*"))

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]  # the first one installs


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The packages that yarn.lock names; quick when they are there."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    installed = jlpm("install", "--immutable")
    assert installed.returncode == 0, installed.stdout


@pytest.fixture(scope="module")
def results(packages: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Jest says of each file, by the file's name."""
    report = tmp_path_factory.mktemp("jest") / "report.json"
    output = jlpm("test", "--json", f"--outputFile={report}").stdout
    assert report.exists(), output
    files = json.loads(report.read_text())["testResults"]
    return {Path(file["name"]).name: file for file in files}


@pytest.mark.parametrize("spec", [path.name for path in SPECS])
def test_jest(spec: str, results: dict[str, Any]) -> None:
    result = results[spec]
    assert result["status"] == "passed", result["message"]
    assert result["assertionResults"], "no test in this file"


def test_types_format_and_rules() -> None:
    checked = jlpm("lint:check")
    assert checked.returncode == 0, checked.stdout
