"""What a directory's processes leave behind is found and ended, nothing else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import leftovers
from deploy.local.bootstrap import ROOT


@contextmanager
def sleeper(*words: str, **where: object) -> Iterator[subprocess.Popen[bytes]]:
    command = ["/bin/sh", "-c", "read -r _", *words]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        start_new_session=True,
        **where,  # type: ignore[call-overload]
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("by", ["environment", "argument"])
def test_processes_of_the_directory_are_ended(tmp_path: Path, by: str) -> None:
    mine = tmp_path / "mine"
    other = tmp_path / "other"
    marked = {
        "environment": sleeper(env={"STATE": f"{mine}/state"}),
        "argument": sleeper(f"--state={mine}"),
    }[by]
    with marked as child, sleeper(f"--state={other}") as stranger:
        assert leftovers.find(mine) == [child.pid]
        # A child that nobody has waited for is a zombie, and names nothing any more.
        assert leftovers.end(mine) == []
        assert child.wait() == -9
        assert stranger.poll() is None


def test_people_who_look_at_the_directory_are_left_alone(tmp_path: Path) -> None:
    looking = sleeper(cwd=tmp_path, env={"PWD": str(tmp_path)})
    reader, terminal = pty.openpty()
    script = ["/bin/sh", "-c", "echo ready; read -r _", str(tmp_path)]
    reading = subprocess.Popen(  # gets the terminal as its controlling one
        ["/usr/bin/setsid", "--ctty", *script], stdin=terminal, stdout=terminal
    )
    try:
        assert os.read(reader, 5) == b"ready"
        with looking:
            assert leftovers.find(tmp_path) == []
    finally:
        reading.kill()
        reading.wait()
        os.close(reader)
        os.close(terminal)


def test_the_caller_and_who_called_him_are_left_alone(tmp_path: Path) -> None:
    ask = "from deploy.local.leftovers import find; from pathlib import Path; import os"
    ask += "; print(find(Path(os.environ['HERE'])))"
    said = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -c "{ask}"; true'],
        env={"HERE": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "[]\n"
