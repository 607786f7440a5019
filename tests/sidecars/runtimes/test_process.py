"""The runtime ``process``: which command, which PATH, which paths."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from traitlets.config import Config

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import Container
from interlink_sidecars.runtimes.base import Command
from interlink_sidecars.runtimes.process import ProcessRuntime
from interlink_sidecars.staging import Mount

JOB = Path("/jobs/1")
IMAGES = {"lab": "/opt/lab", "host": ""}


def command(
    *mounts: str,
    settings: dict[str, Any] | None = None,
    owner: str = "ada",
    **fields: Any,
) -> Command:
    config = Config({"ProcessRuntime": {"images": IMAGES, **(settings or {})}})
    runtime = ProcessRuntime(config=config)
    container = Container(**{"name": "c", "image": "lab", "args": ["x"], **fields})
    places = [Mount(path, PurePosixPath("volumes", path[1:2])) for path in mounts]
    return runtime.command(container, places, JOB, owner)


def test_image_is_an_environment() -> None:
    assert command() == Command(argv=["x"], path=["/opt/lab/bin"])
    assert command(image="host", command=["a"]) == Command(argv=["a", "x"], path=[])


def test_unknown_image_names_the_known() -> None:
    with pytest.raises(InvalidRequestError, match="It has: host, lab") as caught:
        command(image="$(id)")
    assert caught.value.reason == "UnknownImage"


def test_no_command() -> None:
    with pytest.raises(InvalidRequestError, match="names no command"):
        command(args=[])


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/data", "/jobs/1/volumes/d"),
        ("/data/x.py", "/jobs/1/volumes/d/x.py"),
        ("--in=/data/x", "--in=/jobs/1/volumes/d/x"),
        ("a:/data:b", "a:/jobs/1/volumes/d:b"),
        ("'/data'", "'/jobs/1/volumes/d'"),
        ("/database", "/database"),
        ("/data-2", "/data-2"),
        ("/data.txt", "/data.txt"),
        ("/my/data", "/my/data"),
        ("http://h/data", "http://h/data"),
        ("./data", "./data"),
        ("/etc/deep", "/jobs/1/volumes/e"),
    ],
)
def test_mount_paths_are_rewritten(text: str, rewritten: str) -> None:
    found = command(
        "/data", "/etc/deep", args=[text], env=[{"name": "V", "value": text}]
    )
    assert list(found.argv) == [rewritten]
    assert found.env == {"V": rewritten}


def test_the_longest_mount_wins() -> None:
    assert list(command("/a", "/a/b", args=["/a/b/c"]).argv) == ["/jobs/1/volumes/a/c"]


def test_working_directory() -> None:
    scratch = {"workspace": "/scratch"}
    assert command().cwd == ""
    assert command(settings=scratch).cwd == "/scratch"
    assert command(settings=scratch, workingDir="/home/jovyan").cwd == "/scratch"
    assert command("/data", workingDir="/data/in").cwd == "/jobs/1/volumes/d/in"
    assert command(settings=scratch).home == ""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("ada@example.org", "ada@example%2Eorg"),
        ("../bob", "%2E%2E%2Fbob"),
        ("Zoë $(id)", "Zo%C3%AB%20%24%28id%29"),
        ("", "_nobody"),
    ],
)
def test_each_user_has_a_home_that_no_name_can_leave(owner: str, name: str) -> None:
    own = command(settings={"workspace": "/data/{user}"}, owner=owner)
    assert own.home == own.cwd == f"/data/{name}"


def test_users_are_not_isolated_unless_an_admin_accepts_it() -> None:
    assert not ProcessRuntime().isolates_users
    assert ProcessRuntime(allow_shared_account=True).isolates_users
