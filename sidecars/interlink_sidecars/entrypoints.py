"""Backends and runtimes by short name: what installed packages registered.

The manner is JupyterHub's ``EntryPointType``, so that a setting reads
``c.Sidecar.backend = "slurm"`` whoever wrote the backend.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from traitlets import TraitError, TraitType


def installed(group: str) -> list[Any]:
    """The classes registered in a group."""
    return [point.load() for point in entry_points(group=group)]


def load(group: str, name: str) -> Any:
    """The class registered under a name."""
    return entry_points(group=group)[name].load()


class EntryPoint(TraitType[str, str]):
    """The name of an entry point of one group."""

    def __init__(self, group: str, default: str, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.group = group

    def validate(self, obj: Any, value: Any) -> str:
        names = sorted(entry_points(group=self.group).names)
        if value in names:
            return str(value)
        raise TraitError(
            f"There is no {self.name} {value!r} installed."
            f" Installed: {', '.join(names)}."
        )
