"""What an administrator sets for InterLinkSpawner: what the hub offers, and limits.

Settings only, checked when they are read. That a user's options keep to them is
decided in ``plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from traitlets import Dict, Integer, List, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from interlink_sidecars.api.kubernetes import JSON

from . import options
from .language import Message
from .plan import Image, Policy


class OffloadSettings(LoggingConfigurable):
    """The settings of InterLinkSpawner beyond KubeSpawner's."""

    image: str  # KubeSpawner's

    images = List(
        Dict(),
        config=True,
        help="""
        Images that users may choose, the first one being the default.

        Each is a dictionary with ``name`` (the image reference) and optionally
        ``display_name``, ``description`` and ``backends`` (names of backends or of
        virtual nodes that have the image; absent for all). Empty: only ``image``.
        """,
    )
    default_cpus = Integer(1, min=1, config=True, help="CPU cores of a job by default.")
    max_cpus = Integer(
        0, min=0, config=True, help="Most CPU cores of a job; 0: what the site has."
    )
    default_memory = Unicode(
        "2Gi", config=True, help="Memory of a job by default, as a Kubernetes quantity."
    )
    max_memory = Unicode(
        "", config=True, help="Most memory of a job; empty: what the site has."
    )
    default_walltime = Unicode(
        "2h", config=True, help="Time limit of a job by default: 30m, 2h or 1d."
    )
    max_walltime = Unicode(
        "1d", config=True, help="Longest time limit that users may ask for."
    )
    queue_timeout = Integer(
        7 * 24 * 3600,
        min=1,
        config=True,
        help="""
        Seconds that a job may wait in its site's queue.

        ``start_timeout`` counts only from the moment at which the job starts.
        """,
    )

    @validate("images")
    def _validate_images(self, proposal: Mapping[str, Any]) -> list[JSON]:
        try:
            for each in proposal["value"]:
                Image.model_validate(each)
        except ValidationError as error:
            raise TraitError(f"InterLinkSpawner.images: {error}") from error
        return list(proposal["value"])

    @validate("default_memory", "max_memory")
    def _validate_memory(self, proposal: Mapping[str, Any]) -> str:
        return _checked(proposal, options.memory_size)

    @validate("default_walltime", "max_walltime")
    def _validate_walltime(self, proposal: Mapping[str, Any]) -> str:
        return _checked(proposal, options.walltime_minutes)

    def policy(self) -> Policy:
        """What this hub offers, from the settings."""
        images = self.images or [{"name": self.image}]
        max_memory = options.memory_size(self.max_memory) or 0
        max_walltime = options.walltime_minutes(self.max_walltime) or 0
        memory = options.memory_size(self.default_memory) or 0
        walltime = options.walltime_minutes(self.default_walltime) or 0
        return Policy(
            images=tuple(Image.model_validate(each) for each in images),
            default_cpus=min(self.default_cpus, self.max_cpus or self.default_cpus),
            max_cpus=self.max_cpus,
            default_memory=min(memory, max_memory or memory),
            max_memory=max_memory,
            default_walltime=min(walltime, max_walltime),
            max_walltime=max_walltime,
        )


def _checked(proposal: Mapping[str, Any], read: Callable[..., Any]) -> str:
    """The setting, if a user could write it into the field of the form."""
    name, value = proposal["trait"].name, str(proposal["value"])
    try:
        found = read(value)
    except PydanticCustomError as error:
        said = Message(error.type, **(error.context or {})).say("en")
        raise TraitError(f"{name}: {said}.") from error
    if found is None and name != "max_memory":
        raise TraitError(f"{name} must not be empty.")
    return value
