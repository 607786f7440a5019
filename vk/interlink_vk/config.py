"""What an administrator says about the virtual node: one validated document.

Owns names, defaults and meaning of the settings of node and pods. Must not know how
any of them is acted upon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.messages import Taint
from interlink_sidecars.api.quantity import parse

_LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
_NODE_NAME = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
_RESOURCE_TYPE = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9][-A-Za-z0-9_.]*$"


class ConfigError(ValueError):
    """The settings are wrong; the text names each key, its value and what is wrong."""


@contextmanager
def naming(setting: str, value: str) -> Iterator[None]:
    """Make what the system says of a setting's port or file an error of that setting.

    Raises:
        ConfigError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{setting} = {value}: {error.strerror or error}") from error


class Settings(BaseModel):
    """A frozen document that refuses unknown keys, because they are misspelt ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AcceleratorConfig(Settings):
    """Devices of one model, for sites whose sidecar does not discover them itself.

    ``resource_type`` is the extended resource name, ``available`` how many the site
    has in all.
    """

    resource_type: str = Field(pattern=_RESOURCE_TYPE)
    model: str = Field("", pattern=_LABEL_VALUE)
    available: int = Field(ge=0)

    @field_validator("model")
    @classmethod
    def _lower_case(cls, model: str) -> str:
        return model.lower()


class NodeConfig(Settings):
    """The virtual node. What the sidecar reports wins over what stands here.

    ``queue_depth`` lets pods wait at the site instead of in kube-scheduler: the node
    offers this many devices of each type, pods, and multiples of its CPUs and memory
    beyond what exists, so that a pod for a busy device reaches the site's own queue.

    Intervals are seconds. The node turns NotReady after ``unreachable_after`` without
    an answer from the sidecar; unchanged inventories and conditions are written again
    every ``heartbeat_interval``.
    """

    name: str = Field(pattern=_NODE_NAME)
    site: str = Field("", pattern=_LABEL_VALUE)
    backend: str = Field("", pattern=_LABEL_VALUE)
    cpus: str = "1"
    memory: str = "1Gi"
    pods: int = Field(110, ge=0)
    accelerators: list[AcceleratorConfig] = []
    queue_depth: int = Field(100, ge=0)
    architecture: str = Field("amd64", pattern=_LABEL_VALUE)
    labels: dict[str, str] = {}
    taints: list[Taint] = []

    ping_interval: float = Field(3.0, gt=0)
    unreachable_after: float = Field(10.0, ge=0)
    heartbeat_interval: float = Field(30.0, gt=0)
    status_interval: float = Field(2.0, gt=0)
    lease_seconds: int = Field(40, ge=4)

    @field_validator("cpus", "memory", mode="before")
    @classmethod
    def _quantity(cls, value: Any) -> str:
        try:
            amount = parse(value)
        except InvalidRequestError as error:
            raise ValueError(error.message) from error
        if amount < 0:
            raise ValueError("A node cannot have a negative amount.")
        return str(value)

    @field_validator("labels")
    @classmethod
    def _label_values(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            if not re.match(_LABEL_VALUE, value):
                raise ValueError(f"{value!r} is no value for the label {key}")
        return labels


def load_node(document: dict[str, Any]) -> NodeConfig:
    """Validate the administrator's dict.

    Raises:
        ConfigError: a sentence for each wrong key, with its value.
    """
    try:
        return NodeConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"node.{'.'.join(str(part) for part in wrong['loc'])}"
                f" = {wrong['input']!r}: {wrong['msg']}"
                for wrong in error.errors()
            )
        ) from error
