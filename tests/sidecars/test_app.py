"""The command: it starts with nothing else said, or says in one sentence why not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from interlink_sidecars.testing import SidecarProcess

PROGRAM = Path(sys.executable).with_name("interlink-sidecar")


def refusal(*options: str, env: dict[str, str] | None = None) -> str:
    """What the command says when it does not start."""
    result = subprocess.run(
        [PROGRAM, *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (sentence,) = result.stderr.strip().splitlines()
    return sentence


def test_starts_with_nothing_else_configured(tmp_path: Path) -> None:
    state = tmp_path / "state"
    program = start("--backend=local", "--port=0", f"--state-dir={state}")
    try:
        assert state.stat().st_mode & 0o777 == 0o700
        files = {path.name for path in state.iterdir()}
        assert {"jobs", "jobs.sqlite", "lock"} <= files
        assert (state / "jobs.sqlite").stat().st_mode & 0o777 == 0o600
    finally:
        program.terminate()
        assert program.wait(20) == 0
        assert program.stderr is not None
        program.stderr.close()


def start(*options: str) -> subprocess.Popen[str]:
    program = subprocess.Popen([PROGRAM, *options], stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    line = program.stderr.readline()
    assert "listening on http://127.0.0.1:" in line
    return program


async def test_one_sidecar_for_one_state_directory(tmp_path: Path) -> None:
    sidecar = SidecarProcess(tmp_path, ["--backend=local"], {})
    await sidecar.start()
    try:
        again = refusal("--port=0", f"--state-dir={sidecar.state_dir}")
        assert "Another sidecar uses the state directory" in again
        mode = (tmp_path / "sidecar.sock").stat().st_mode & 0o777
        assert mode == 0o600
    finally:
        await sidecar.stop()
        await sidecar.client.close()


def test_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        sentence = refusal(f"--port={port}", f"--state-dir={tmp_path}")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in sentence


def test_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = refusal("--port=0", f"--state-dir={tmp_path}/file/state")
    assert "cannot be used: Not a directory" in sentence


def test_slurm_without_its_commands(tmp_path: Path) -> None:
    options = ("--backend=slurm", "--port=0", f"--state-dir={tmp_path}")
    sentence = refusal(*options, env={"PATH": str(tmp_path)})
    assert "sbatch is not on the PATH" in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--backend=lsf",), "There is no backend 'lsf' installed. Installed: local"),
        (("--runtime=moon",), "There is no runtime 'moon' installed."),
        (("--port=x",), "port"),
        (("--config=/nowhere/config.py",), "no configuration file /nowhere/config.py"),
    ],
)
def test_settings_that_cannot_be(options: tuple[str, ...], words: str) -> None:
    assert words in refusal(*options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("c.LocalBackend.accelerators = [{'model': 'u55c'}]", "resource_type"),
        ("c.Engine.poll_interval = -1", "poll_interval"),
        ("c.Sidecar.port =", "invalid syntax"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, settings: str, words: str) -> None:
    config = tmp_path / "config.py"
    config.write_text(settings)
    options = ("--port=0", f"--state-dir={tmp_path}/state", f"--config={config}")
    assert words in refusal(*options)


def test_generated_configuration_is_complete_and_loads(tmp_path: Path) -> None:
    result = subprocess.run(
        [PROGRAM, "--generate-config"], capture_output=True, text=True, check=True
    )
    for setting in (
        "# c.Sidecar.state_dir",
        "# c.Engine.poll_interval",
        "# c.SlurmBackend.gres",
        "# c.LocalBackend.accelerators",
        "# c.ProcessRuntime.images",
    ):
        assert setting in result.stdout
    exec(compile(result.stdout, "config", "exec"), {"get_config": lambda: None})
