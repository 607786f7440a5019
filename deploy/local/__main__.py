"""The commands behind ``make``: ``python3 -m deploy.local demo``, ``test``, …

Runs under the system's Python with the standard library alone; what needs more goes
on in the ``hub`` environment. Settings come from the environment, where make puts
them: PORT and SLURM for the demo, PART for the tests.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said before newer syntax is imported
    sys.exit(
        "Python 3.11 or newer is needed, and this is "
        f"{sys.version.split()[0]}. Name another one: make demo PYTHON=python3.11"
    )

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import cache, environments, leftovers, state
from .bootstrap import ROOT, SetupError, debian_packages, public_port

DEFAULT_PORT = 8000
SLURM_PACKAGES = {"munge": "munged", "slurm-wlm": "slurmctld"}
TEST_PACKAGES = {**SLURM_PACKAGES, "chromium": "chromium"}
LINT = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports"],
]
WITHOUT_REAL_PARTS = "not (cluster or slurm or browser or node)"


def demo() -> int:
    """Install what is missing, then run everything until Ctrl-C."""
    port = public_port(os.environ.get("PORT") or str(DEFAULT_PORT))
    if os.environ.get("SLURM") == "1":
        debian_packages(SLURM_PACKAGES, "Slurm for the demo")
    _go_on_in_hub()
    from .demo import run  # noqa: PLC0415 - needs the hub environment

    return run(port)


def test() -> int:
    """Lint, then one pytest run over everything or over one part."""
    part = os.environ.get("PART", "")
    chosen = _chosen(part)
    hub = _go_on_in_hub()
    if not part and (code := _lint(hub)):
        return code
    if part != "unit":
        _real_parts()
    sys.stdout.flush()
    return os.execv(sys.executable, [sys.executable, "-m", "pytest", *chosen])


def lint() -> int:
    """Style, types and import contracts; the first that fails ends it."""
    return _lint(_go_on_in_hub())


def constraints() -> int:
    """Pin the newest versions that fit together."""
    environments.constraints(environments.tools())
    return 0


def clean() -> int:
    """Remove what is kept between runs."""
    return _remove(cache.directory())


def clean_demo() -> int:
    """Forget the demo's users, servers and jobs."""
    return _remove(state.directory())


COMMANDS = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "constraints": constraints,
    "clean": clean,
    "clean-demo": clean_demo,
}


def _chosen(part: str) -> list[str]:
    """pytest's arguments for a part: a directory below tests, or ``unit``."""
    if part == "unit":
        return ["-m", WITHOUT_REAL_PARTS]
    parts = sorted(path.parent.name for path in (ROOT / "tests").glob("*/test_*.py"))
    if part and part not in parts:
        known = ", ".join(["unit", *dict.fromkeys(parts)])
        raise SetupError(f"There is no part {part!r} of the tests; there are {known}.")
    return [f"tests/{part}"] if part else []


def _go_on_in_hub() -> Path:
    """Become the same command in the hub environment, made first if need be.

    Returns the environment's directory when this is the Python of it already.
    """
    hub = environments.hub(environments.tools())
    if Path(sys.prefix) != hub:
        os.environ["PATH"] = f"{hub / 'bin'}:{os.environ['PATH']}"
        sys.stdout.flush()
        python = str(hub / "bin" / "python")
        os.execv(python, [python, "-m", "deploy.local", *sys.argv[1:]])
    return hub


def _real_parts() -> None:
    """What the tests run against; what cannot be had is skipped, with the reason."""
    from .components import programs  # noqa: PLC0415 - needs the hub environment

    if os.geteuid() == 0 and shutil.which("apt-get"):
        debian_packages(TEST_PACKAGES, "The tests")
    programs(cache.directory())
    environments.everything(environments.tools())


def _lint(hub: Path) -> int:
    for command in LINT:
        print(" ".join(command), flush=True)
        program = hub / "bin" / command[0]
        ended = subprocess.run([program, *command[1:]], cwd=ROOT, check=False)
        if ended.returncode:
            return ended.returncode
    return 0


def _remove(directory: Path) -> int:
    if left := leftovers.find(directory):
        raise SetupError(
            f"{directory} is in use by process {left[0]}: stop the demo and the tests "
            "first."
        )
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one command; a SetupError becomes one sentence."""
    command = COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        sys.exit(f"usage: python3 -m deploy.local {'|'.join(COMMANDS)}")
    os.chdir(ROOT)
    try:
        return command()
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
