"""What every test may use: golden files, and the rule about missing real parts.

A test whose real part (Slurm, Chromium, …) is missing is skipped with the reason;
under ``CI=true`` that skip is a failure, so that no part is silently untested.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-data",
        action="store_true",
        help="rewrite the golden files below tests/data with what the code makes now",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Compare a document with ``tests/data/<name>``; JSON unless it is text."""

    def check(name: str, actual: Any) -> None:
        path = DATA / name
        text = (
            actual
            if isinstance(actual, str)
            else json.dumps(actual, indent=2, sort_keys=True) + "\n"
        )
        if request.config.getoption("--update-data"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest --update-data and read it"
        assert text == path.read_text()

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Under CI a missing real part fails the test instead of skipping it."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"
    return report
