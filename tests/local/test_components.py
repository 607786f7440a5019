"""Finding the control plane's programs, and what people read when that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.bootstrap import SetupError
from deploy.local.components import NAMES, programs


def executable(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for the only go command that is found."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin" / "go"


def test_a_directory_with_all_four_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        executable(tmp_path / name, "true")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert programs(tmp_path) == {name: [str(tmp_path / name)] for name in NAMES}


def test_an_old_go_is_one_sentence(tmp_path: Path, go: Path) -> None:
    executable(go, "echo 'go.mod requires go >= 1.26.0 (running go 1.19)' >&2; exit 1")
    with pytest.raises(SetupError, match=r"requires go >= 1.26.0 .*Install Go"):
        programs(tmp_path)


def test_a_failed_download_says_what_to_do(tmp_path: Path, go: Path) -> None:
    executable(go, '[ "$1" = env ] || { echo "dial tcp: no route" >&2; exit 1; }')
    with pytest.raises(SetupError, match=r"a download failed\. Check the network"):
        programs(tmp_path)


def test_the_program_is_built_once_and_readable_by_all(
    tmp_path: Path, go: Path
) -> None:
    executable(go, f'[ "$1" = env ] || {{ echo >> {tmp_path}/builds; echo > "$6"; }}')
    first = programs(tmp_path)
    assert programs(tmp_path) == first
    assert (tmp_path / "builds").read_text() == "\n"
    program = Path(first["etcd"][0])
    assert program.stat().st_mode & 0o777 == 0o755
    assert first["kube-apiserver"] == [str(program), "kube-apiserver"]
