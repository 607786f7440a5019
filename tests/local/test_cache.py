"""Where slow things are kept, and that they are made once."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from deploy.local.cache import directory, locked


def test_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLINKSPAWNER_CACHE", str(tmp_path / "there"))
    assert directory() == tmp_path / "there"
    assert (tmp_path / "there").is_dir()


def test_an_ordinary_user_has_his_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERLINKSPAWNER_CACHE", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert directory() == tmp_path / "interlinkspawner"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert directory() == tmp_path / ".cache" / "interlinkspawner"


def test_everybody_can_read_it_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLINKSPAWNER_CACHE", str(tmp_path / "there"))
    before = os.umask(0o077)
    try:
        assert directory().stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def _make_once(home: Path) -> None:
    with locked(home / "lock"):
        if not (home / "made").exists():
            with (home / "makers").open("a") as makers:
                makers.write("x")
            (home / "made").touch()


def test_programs_at_once_make_a_thing_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    programs = [spawn.Process(target=_make_once, args=[tmp_path]) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert (tmp_path / "makers").read_text() == "x"
