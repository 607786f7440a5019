"""What a site has and what is free: the document in the node annotation.

Written by the virtual kubelet from the sidecar's ping, read by the hub's form.
``used`` counts everybody's jobs at the site, not only ours.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, computed_field


class Accelerator(BaseModel):
    """The devices of one model at one site.

    ``resource_type`` is the extended resource name (``xilinx.com/fpga``), ``model``
    is lower case (``u55c``). ``total`` counts usable devices only.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    resource_type: str
    model: str = ""
    total: int = Field(ge=0)
    used: int = Field(0, ge=0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def free(self) -> int:
        """Devices that a job could get now."""
        return max(0, self.total - self.used)


class QueueLoad(BaseModel):
    """How busy the site's queue is, over all users."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    running: int = Field(0, ge=0)
    waiting: int = Field(0, ge=0)


class Inventory(BaseModel):
    """One site at one moment. ``observed_at`` is when the scheduler was asked."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    observed_at: datetime
    backend: str = ""
    site: str = ""
    status: str = "ok"
    message: str = ""
    accelerators: list[Accelerator] = []
    queue: QueueLoad = QueueLoad()
