"""What every test may use: golden files, a cluster, the rule about missing real parts.

A test whose real part (Slurm, Chromium, …) is missing is skipped with the reason;
under ``CI=true`` that skip is a failure, so that no part is silently untested.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.local import cache
from deploy.local.bootstrap import SetupError
from deploy.local.cluster import Cluster
from deploy.local.components import programs

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One control plane for all tests of the run; nodes come from the tests."""
    cluster = Cluster.from_environment(tmp_path_factory.mktemp("cluster"))
    try:
        await cluster.start()
    except SetupError as error:
        pytest.skip(str(error))
    yield cluster
    await cluster.stop()


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of this test alone, with the accounts of our components in it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await cluster.prepare(name)
    yield name
    await cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the cluster has its marker."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test's time limit runs."""
    if any(item.get_closest_marker("cluster") for item in session.items):
        with contextlib.suppress(SetupError):  # the fixture will meet it again
            programs(cache.directory())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Under CI a missing real part fails the test instead of skipping it."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"
    return report
