"""The three Python environments and the proxy: made once, reused until inputs change.

Owns what is installed where. ``hub`` runs the checkout itself (edits are live) and the
tests; ``site`` has only the sidecar's distribution, as on an edge node; ``notebook`` is
what a notebook image would hold. The latter two are read by an ordinary account, so
they hold copies and no links into the checkout. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cache
from .bootstrap import (
    CONSTRAINTS,
    ROOT,
    Command,
    SetupError,
    find_python,
    require_node,
    run,
    uv,
)
from .site import account

PROXY = Path(__file__).parent / "proxy"
TOOLS = Path(__file__).parent / "tools.in"
LABEXTENSION = ROOT / "labextension"
OLDEST = {"jupyterhub": "5.5.*", "jupyterhub-kubespawner": "7.0.*"}
_NO_NEWS = {
    "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}
}
_MADE = {"node_modules", "lib", "__pycache__", "labextension", "coverage", "dist"}
_WORKSPACE = [ROOT, ROOT / "sidecars", ROOT / "vk", LABEXTENSION]


@dataclass(frozen=True)
class Tools:
    """What makes an environment: the cache, uv, and the Python it is made of."""

    cache: Path
    uv: Path
    python: Path


@dataclass(frozen=True)
class Environments:
    """Where the environments lie, and the proxy's program."""

    hub: Path
    site: Path
    notebook: Path
    proxy: Path


def tools() -> Tools:
    """This machine's tools; uv is installed on first use."""
    os.umask(0o022)  # jobs read the environments as another user
    where = cache.directory()
    return Tools(where, uv(where), find_python(account()))


def everything(tools: Tools) -> Environments:
    """All of them, in less than a second when nothing has changed."""
    return Environments(hub(tools), site(tools), notebook(tools), proxy(tools))


def hub(tools: Tools) -> Path:
    """JupyterHub, spawner and virtual kubelet from the checkout, and the test tools."""
    return _environment(
        tools,
        "hub",
        _checkout(),
        [member / "pyproject.toml" for member in _WORKSPACE],
    )


def oldest_hub(tools: Tools) -> Path:
    """The same with the oldest JupyterHub and KubeSpawner that we promise to run on."""
    constraints = _home(tools) / "oldest-constraints.txt"
    constraints.parent.mkdir(parents=True, exist_ok=True)
    pins = CONSTRAINTS.read_text().splitlines()
    kept = [pin for pin in pins if pin.partition("==")[0] not in OLDEST]
    kept += [f"{name}=={version}" for name, version in OLDEST.items()]
    constraints.write_text("\n".join(kept) + "\n")
    return _environment(
        tools,
        "oldest-hub",
        _checkout(),
        [member / "pyproject.toml" for member in _WORKSPACE],
        constraints,
    )


def site(tools: Tools) -> Path:
    """The sidecar's distribution and nothing else."""
    sidecars = ROOT / "sidecars"
    return _environment(tools, "site", [str(sidecars)], sources(sidecars))


def notebook(tools: Tools) -> Path:
    """JupyterLab with our extension: the image of the notebooks."""
    inputs = sources(LABEXTENSION)
    wheel = _labextension_wheel(tools, inputs)
    packages = [str(wheel), "jupyterlab>=4.6,<4.7", "jupyterhub>=5.5"]
    directory = _environment(tools, "notebook", packages, inputs)
    settings = directory / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(exist_ok=True)
    # a compute node has no way out to ask for news and newer versions
    (settings / "page_config.json").write_text(json.dumps(_NO_NEWS))
    return directory


def proxy(tools: Tools) -> Path:
    """The program of configurable-http-proxy."""
    inputs = [PROXY / "package.json", PROXY / "package-lock.json"]
    stamp = digest(inputs)
    directory = tools.cache / f"proxy-{stamp}"  # shared by all checkouts
    with made_once(directory, stamp) as needed:
        if needed:
            require_node()
            for path in inputs:
                shutil.copy(path, directory)
            log = tools.cache / "logs" / "proxy.log"
            command = ["npm", "ci", "--no-audit", "--no-fund"]
            run("Installing the HTTP proxy", [command], log=log, cwd=directory)
    package = directory / "node_modules" / "configurable-http-proxy"
    return package / "bin" / "configurable-http-proxy"


def constraints(tools: Tools) -> None:
    """Resolve the newest versions that fit together and pin them all."""
    made = tools.cache / "constraints.txt"
    names = {"interlinkspawner", "interlink-sidecars", "interlink-vk"}
    names.add("jupyterlab-interlink")
    ours = [part for name in sorted(names) for part in ("--no-emit-package", name)]
    command: list[str | Path] = [
        tools.uv,
        "pip",
        "compile",
        "--quiet",
        "--upgrade",
        "--universal",
    ]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", *ours]
    command += ["--output-file", made, "--group", f"{ROOT / 'pyproject.toml'}:dev"]
    command += [TOOLS, *(member / "pyproject.toml" for member in _WORKSPACE)]
    run("Resolving versions", [command], log=tools.cache / "logs" / "constraints.log")
    CONSTRAINTS.write_text(f"# Made by `make constraints`.\n{made.read_text()}")


def sources(directory: Path) -> list[Path]:
    """The files below a directory, except those that a build makes."""
    found: list[Path] = []
    for parent, directories, files in os.walk(directory):
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".") and name not in _MADE
        ]
        found += [
            Path(parent, name) for name in files if not name.endswith(".tsbuildinfo")
        ]
    return sorted(found)


def digest(inputs: Sequence[Path], *words: str) -> str:
    """A short word that changes with names and contents, the same in any checkout."""
    total = hashlib.sha256("\0".join(words).encode())
    for path in inputs:
        name = os.path.relpath(path, ROOT)
        total.update(f"{name}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _labextension_wheel(tools: Tools, inputs: Sequence[Path]) -> Path:
    directory = _home(tools) / "labextension"
    with made_once(directory, digest([*inputs, CONSTRAINTS])) as needed:
        if needed:
            require_node()
            _uv(
                tools,
                "Building the JupyterLab panel",
                ["build", "--wheel", "--out-dir", directory, LABEXTENSION],
            )
    wheels = list(directory.glob("*.whl"))
    if len(wheels) != 1:
        raise SetupError(f"{directory} holds {len(wheels)} wheels: run `make clean`.")
    return wheels[0]


def _checkout() -> list[str]:
    """What installs the checkout itself with the development tools."""
    editable = [part for member in _WORKSPACE for part in ("--editable", str(member))]
    return [*editable, "--group", str(ROOT / "pyproject.toml") + ":dev"]


def _environment(
    tools: Tools,
    name: str,
    packages: Sequence[str],
    inputs: Sequence[Path],
    constraints: Path = CONSTRAINTS,
) -> Path:
    directory = _home(tools) / name
    stamp = digest([*inputs, constraints], str(tools.python), *packages)
    with made_once(directory, stamp) as needed:
        if needed:
            create: Command = ["venv", "--clear", "--python", tools.python, directory]
            install: list[str | Path] = ["pip", "install", "--compile-bytecode"]
            install += ["--python", directory / "bin" / "python"]
            install += ["--constraint", constraints, *packages]
            _uv(tools, f"Making the {name} environment", create, install)
    return directory


def _home(tools: Tools) -> Path:
    """Where this checkout's environments lie; another checkout has its own."""
    name = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    return tools.cache / "environments" / f"{ROOT.name}-{name}"


def _uv(tools: Tools, title: str, *commands: Command) -> None:
    env = {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_BUILD_CONSTRAINT": str(CONSTRAINTS),
        "UV_NO_PROGRESS": "1",
    }
    if "--editable" in commands[-1]:  # only the extension's Python part is imported
        env["SKIP_JUPYTER_BUILDER"] = "1"
    log = tools.cache / "logs" / f"{title.lower().replace(' ', '-')}.log"
    run(title, [[tools.uv, *command] for command in commands], log=log, env=env)


@contextlib.contextmanager
def made_once(directory: Path, stamp: str) -> Iterator[bool]:
    """Tell whether a directory must be made; remember ``stamp`` once it was.

    Two commands at once make it one after the other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    record = directory.with_name(f"{directory.name}.stamp")
    with cache.locked(directory.with_name(f"{directory.name}.lock")):
        needed = not record.exists() or record.read_text() != stamp
        if needed:
            record.unlink(missing_ok=True)
            shutil.rmtree(directory)
            directory.mkdir()
        yield needed
        record.write_text(stamp)
