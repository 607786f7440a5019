"""Volumes as files: contents, names, modes, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from interlink_sidecars.api.errors import ApiError, InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON, Container
from interlink_sidecars.job import read_pod
from interlink_sidecars.staging import (
    File,
    JobDirectory,
    Mount,
    mounts,
    volume_directories,
    volume_files,
)
from interlink_sidecars.testing import bundle, make_pod

SETTINGS = {
    "metadata": {"name": "settings"},
    "data": {"a.txt": "ä\n", "run.sh": "#!"},
    "binaryData": {"b.bin": "/wA="},
}
KEYS = {"metadata": {"name": "keys"}, "data": {"token": "c2VjcmV0"}}
MERGED = {"metadata": {"name": "all"}, "data": {"sub/ca.crt": "CA", "token": "t"}}


def mounting(**spec: Any) -> JSON:
    """A pod whose container mounts the volume ``v``."""
    pod = make_pod(**spec)
    mount = {"name": "v", "mountPath": "/v"}
    pod["spec"]["containers"][0]["volumeMounts"] = [mount]
    return pod


def files_of(volume: JSON) -> dict[str, File]:
    pod = mounting(volumes=[{"name": "v", **volume}])
    request = bundle(
        pod,
        config_maps=[SETTINGS],
        secrets=[KEYS],
        projected_volume_maps=[{**MERGED, "metadata": {"name": "v"}}],
    )
    return volume_files(read_pod(pod), request)


def test_every_source() -> None:
    assert files_of({"configMap": {"name": "settings"}}) == {
        "volumes/v/a.txt": File("ä\n".encode()),
        "volumes/v/b.bin": File(b"\xff\x00"),
        "volumes/v/run.sh": File(b"#!"),
    }
    secret = files_of({"secret": {"secretName": "keys"}})
    assert secret == {"volumes/v/token": File(b"secret")}
    projected = files_of({"projected": {"sources": []}})
    assert projected == {
        "volumes/v/sub/ca.crt": File(b"CA"),
        "volumes/v/token": File(b"t"),
    }
    assert files_of({"emptyDir": {}}) == {}
    pod = read_pod(mounting(volumes=[{"name": "v", "emptyDir": {}}]))
    assert volume_directories(pod) == ["volumes/v"]


def test_items_modes_and_optional() -> None:
    chosen = {"name": "settings", "items": [{"key": "run.sh", "path": "bin/x"}]}
    assert files_of({"configMap": {**chosen, "defaultMode": 0o755}}) == {
        "volumes/v/bin/x": File(b"#!", executable=True)
    }
    assert files_of({"configMap": {"name": "absent", "optional": True}}) == {}


@pytest.mark.parametrize(
    ("volume", "complaint"),
    [
        ({"hostPath": {"path": "/"}}, "kind hostPath"),
        (
            {"persistentVolumeClaim": {"claimName": "home"}},
            "kind persistentVolumeClaim",
        ),
        ({"nfs": {"server": "x", "path": "/"}}, "kind nfs"),
        ({}, "no source"),
        ({"configMap": {"name": "absent"}}, "'absent', which was not sent"),
        (
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}},
            "'z'",
        ),
        (
            {
                "configMap": {
                    "name": "settings",
                    "items": [{"key": "a.txt", "path": "../x"}],
                }
            },
            "leaves its volume",
        ),
        (
            {
                "configMap": {
                    "name": "settings",
                    "items": [{"key": "a.txt", "path": "/x"}],
                }
            },
            "leaves its volume",
        ),
    ],
)
def test_refused_volumes(volume: JSON, complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        files_of(volume)


def test_secret_that_is_not_base64() -> None:
    pod = mounting(volumes=[{"name": "v", "secret": {"secretName": "keys"}}])
    broken = {**KEYS, "data": {"token": "%%%"}}
    with pytest.raises(InvalidRequestError, match="not base64"):
        volume_files(read_pod(pod), bundle(pod, secrets=[broken]))


def test_a_volume_that_nobody_mounts_is_ignored() -> None:
    home = {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}
    absent = {"name": "absent", "configMap": {"name": "absent"}}
    pod = make_pod(volumes=[home, absent])
    assert volume_files(read_pod(pod), bundle(pod)) == {}
    assert volume_directories(read_pod(pod)) == []


def test_mounts() -> None:
    pod = read_pod(make_pod(volumes=[{"name": "v", "emptyDir": {}}]))

    def at(**mount: str) -> list[Mount]:
        return mounts(pod, Container(name="c", volumeMounts=[{"name": "v", **mount}]))

    assert at(mountPath="/data/") == [Mount("/data", PurePosixPath("volumes/v"))]
    inside = at(mountPath="/data", subPath="a/b")
    assert inside == [Mount("/data", PurePosixPath("volumes/v/a/b"))]
    for wrong in ({"mountPath": "data"}, {"mountPath": "/"}, {"mountPath": "/a/../b"}):
        with pytest.raises(InvalidRequestError, match="absolute path"):
            at(**wrong)
    with pytest.raises(InvalidRequestError, match="leaves its volume"):
        at(mountPath="/data", subPath="../../etc")
    with pytest.raises(InvalidRequestError, match="which the pod has not"):
        at(mountPath="/data", name="w")


def test_directory_is_private_whole_and_scrubbed(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path / "uid")
    old = os.umask(0)
    try:
        directory.write({"left": File(b"over")}, [])
        directory.write(
            {"volumes/v/a": File(b"1"), "run/c.sh": File(b"2", executable=True)},
            ["logs"],
        )
    finally:
        os.umask(old)
    modes = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777)
        for path in sorted(tmp_path.rglob("*"))
    }
    assert modes == {
        "uid": "0o700",
        "uid/logs": "0o700",
        "uid/run": "0o700",
        "uid/run/c.sh": "0o700",
        "uid/volumes": "0o700",
        "uid/volumes/v": "0o700",
        "uid/volumes/v/a": "0o600",
    }
    directory.scrub()
    assert [path.name for path in directory.path.iterdir()] == ["logs"]
    directory.remove()
    directory.remove()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ApiError, match="cannot write"):
        JobDirectory(tmp_path / "file" / "uid").write({}, [])


def test_what_cannot_be_read_is_not_absent(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path)
    (tmp_path / "mark").write_bytes(b"0 \xff\n")
    (tmp_path / "status").mkdir()
    assert directory.read("mark") == "0 \N{REPLACEMENT CHARACTER}\n"
    assert directory.read("none") is None
    with pytest.raises(ApiError, match="cannot read"):
        directory.read("status")


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    """``rmtree`` refuses a link to a directory, whoever we are."""
    (tmp_path / "uid").mkdir()
    (tmp_path / "uid" / "run").symlink_to(tmp_path)
    with pytest.raises(ApiError, match="cannot remove"):
        JobDirectory(tmp_path / "uid").scrub()
