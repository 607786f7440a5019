"""What a fresh or broken machine is told: one sentence, with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import environments
from deploy.local.bootstrap import (
    ROOT,
    SetupError,
    debian_packages,
    find_python,
    public_port,
    require_node,
    run,
)
from deploy.local.components import SOURCES
from deploy.local.site import account

UNREACHABLE = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "UV_HTTP_RETRIES": "0",
    "npm_config_fetch_retries": "0",
}


def downloads(tmp_path: Path) -> dict[str, list[str | Path]]:
    """Commands that cannot do without the network, by their client."""
    uv = environments.tools().uv
    return {
        "pip": [
            *(uv.with_name("pip"), "download", "--no-deps", "--retries=0"),
            *("--no-cache-dir", "--dest", tmp_path, "tornado==6.5"),
        ],
        "uv": [
            *(uv, "pip", "install", "--no-cache", "--no-deps"),
            *("--target", tmp_path, "tornado==6.5"),
        ],
        "npm": [
            "npm",
            "install",
            "--prefix",
            tmp_path,
            "--cache",
            tmp_path,
            "left-pad",
        ],
        "go": ["go", "mod", "download", "golang.org/x/text"],
    }


@pytest.mark.parametrize("client", ["pip", "uv", "npm", "go"])
def test_a_failed_download_says_that_it_was_one(tmp_path: Path, client: str) -> None:
    command = downloads(tmp_path)[client]
    env = {**UNREACHABLE, "GOMODCACHE": str(tmp_path), "GOFLAGS": "-modcacherw"}
    with pytest.raises(
        SetupError, match=r"a download failed\. Check the network"
    ) as said:
        run("Getting it", [command], log=tmp_path / "log", cwd=SOURCES, env=env)
    assert str(tmp_path / "log") in str(said.value)
    assert str(said.value).startswith("Getting it: ")


def test_a_failed_program_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); raise SystemExit('it is broken')"]
    with pytest.raises(SetupError, match=r"Building: failed\.(.|\n)*it is broken"):
        run("Building", [command, ["never"]], log=tmp_path / "log")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no-such-program is not on this machine"):
        run("Building", [["no-such-program"]], log=tmp_path / "log")


def test_an_ordinary_user_is_told_which_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    debian_packages({"coreutils": "true"}, "The demo")
    with pytest.raises(SetupError, match="apt-get install absent-package") as said:
        debian_packages({"coreutils": "true", "absent-package": None}, "The demo")
    assert "coreutils" not in str(said.value)


@pytest.mark.parametrize(
    ("script", "found"), [("", "none"), ("#!/bin/sh\necho v18.20.4\n", r"v18\.20\.4")]
)
def test_node_must_be_there_and_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: str
) -> None:
    if script:
        (tmp_path / "node").write_text(script)
        (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=rf"Node\.js 20 or newer .* found {found}\."):
        require_node()


def test_the_sites_account_can_execute_the_python_found() -> None:
    owner = account()
    root = os.geteuid() == 0
    said = subprocess.run(
        [find_python(owner), "-c", "import sys; print(sys.version_info >= (3, 11))"],
        user=owner.pw_uid if root else None,
        group=owner.pw_gid if root else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "True\n"


def test_no_python_for_the_sites_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(SetupError, match="install one for all users"):
        find_python(account())


@pytest.mark.parametrize(
    ("arguments", "part", "said"),
    [
        (["dance"], "", "usage: python3 -m deploy.local demo|test|lint"),
        ([], "", "usage: "),
        (["test"], "nonsense", "There is no part 'nonsense' of the tests; there are"),
    ],
)
def test_wrong_words_are_refused_at_once(
    arguments: list[str], part: str, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.local", *arguments],
        cwd=ROOT,
        env={**os.environ, "PART": part},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("word", ["http", "-1", "0", "65536", "80 80", "8000;ls"])
def test_a_wrong_port_is_refused(word: str) -> None:
    with pytest.raises(SetupError, match="is no TCP port"):
        public_port(word)


def test_a_busy_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {taken} cannot be used"):
            public_port(str(taken))
    assert public_port(str(taken)) == taken
