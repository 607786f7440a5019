"""The interLink wire: what travels between virtual kubelet, API server and plugin.

Source: ``interlink-hq/interLink`` ``pkg/interlink/types.go``. Three habits of that
code are kept here. Keys are matched without regard to case and unknown ones are
kept or ignored, as Go's decoder does. Casing is irregular (``PodUID``, ``UID``,
``JID``, ``PodJID``), so each alias is written out. Pods stay raw JSON.
Additions of ours are optional fields that the other side ignores.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .kubernetes import JSON

JobState: TypeAlias = Literal[
    "requested",
    "queued",
    "starting",
    "running",
    "suspended",
    "stopping",
    "completed",
    "failed",
    "cancelled",
    "timeout",
    "out_of_memory",
    "preempted",
    "node_failed",
    "lost",
    "unknown",
]
"""The life of a job in words that do not depend on the scheduler."""

ENDED: Final[frozenset[JobState]] = frozenset(
    {
        "completed",
        "failed",
        "cancelled",
        "timeout",
        "out_of_memory",
        "preempted",
        "node_failed",
        "lost",
    }
)
"""States that a job never leaves."""

_GO_ZERO_TIME = "0001-01-01T00:00:00Z"


def _go_time(value: Any) -> Any:
    """Go's zero time means "not set"."""
    return None if value in (None, "", _GO_ZERO_TIME) else value


GoTime: TypeAlias = Annotated[datetime | None, BeforeValidator(_go_time)]


class Message(BaseModel):
    """A wire document: case-insensitive keys, ``null`` means absent."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _decode_as_go(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        exact = set(cls.model_fields) | {
            field.alias for field in cls.model_fields.values() if field.alias
        }
        folded = {key.lower(): key for key in sorted(exact)}
        return {
            key if key in exact else folded.get(key.lower(), key): value
            for key, value in data.items()
            if value is not None
        }

    def to_json(self) -> JSON:
        """The document as it goes on the wire: aliases, no absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# --- create ----------------------------------------------------------------------


class ContainerVolumes(Message):
    """The objects that one container mounts; Secret data is base64."""

    name: str
    config_maps: list[JSON] = Field([], alias="configMaps")
    projected_volume_maps: list[JSON] = Field([], alias="projectedvolumemaps")
    secrets: list[JSON] = Field([], alias="secrets")


class CreateRequest(Message):
    """``POST /create`` of a plugin (Go: ``RetrievedPodData``).

    ``container`` holds init containers first, then containers.
    """

    pod: JSON
    container: list[ContainerVolumes] = []
    job_config: JSON = Field({}, alias="jobConfig")
    job_script: str = Field("", alias="jobScript")


class ApiServerCreateRequest(Message):
    """``POST /create`` of an interLink API server (Go: ``PodCreateRequests``).

    ``projectedvolumesmaps[i]`` is named after its volume and holds plain text.
    """

    pod: JSON
    config_maps: list[JSON] = Field([], alias="configmaps")
    secrets: list[JSON] = []
    projected_volumes_maps: list[JSON] = Field([], alias="projectedvolumesmaps")
    job_script_url: str = Field("", alias="jobscriptURL")


class CreateResponse(Message):
    """The answer to either create: one object, and ``PodJID`` is a string."""

    pod_uid: str = Field(alias="PodUID")
    pod_jid: str = Field(alias="PodJID")


# --- status ----------------------------------------------------------------------


class Waiting(Message):
    """Not started yet; ``reason`` is the scheduler's word."""

    reason: str = ""
    message: str = ""


class Running(Message):
    """Started and not ended."""

    started_at: datetime | None = Field(None, alias="startedAt")


class Terminated(Message):
    """Ended. A failure always carries a non-zero exit code and a sentence."""

    exit_code: int = Field(0, alias="exitCode")
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = Field(None, alias="startedAt")
    finished_at: datetime | None = Field(None, alias="finishedAt")


class ContainerState(Message):
    """At most one of the three is present."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Message):
    """core/v1 ``ContainerStatus``, as far as a plugin fills it."""

    name: str
    state: ContainerState = ContainerState()
    last_state: JSON = Field({}, alias="lastState")
    ready: bool = False
    restart_count: int = Field(0, alias="restartCount")
    image: str = ""
    image_id: str = Field("", alias="imageID")


class Queue(Message):
    """Where the job stands at its scheduler. Ours; optional on the wire.

    ``scheduler_state`` and ``reason`` are the scheduler's own words (``PENDING``,
    ``Resources``), ``message`` is a sentence for people. ``estimated_start`` is no
    promise.
    """

    state: JobState = "unknown"
    scheduler_state: str = Field("", alias="schedulerState")
    reason: str = ""
    message: str = ""
    partition: str = ""
    position: int | None = None
    submitted_at: datetime | None = Field(None, alias="submittedAt")
    started_at: datetime | None = Field(None, alias="startedAt")
    ended_at: datetime | None = Field(None, alias="endedAt")
    estimated_start: datetime | None = Field(None, alias="estimatedStart")
    deadline: datetime | None = None


class PodStatus(Message):
    """One pod in the answer to ``GET /status``.

    ``nodeName``, ``observedAt`` and ``queue`` are ours; a stock plugin omits them.
    An empty ``containers`` means "unknown", never "succeeded".
    """

    name: str
    uid: str = Field(alias="UID")
    namespace: str
    jid: str = Field("", alias="JID")
    containers: list[ContainerStatus] = []
    init_containers: list[ContainerStatus] = Field([], alias="initContainers")
    node_name: str = Field("", alias="nodeName")
    observed_at: datetime | None = Field(None, alias="observedAt")
    queue: Queue | None = None


# --- ping ------------------------------------------------------------------------


class PingAccelerator(Message):
    """Devices of one model; ``model``, ``total`` and ``used`` are ours."""

    resource_type: str = Field(alias="resourceType")
    available: str = "0"
    model: str = ""
    total: int | None = None
    used: int | None = None


class PingResources(Message):
    """What the node shall show; an absent field keeps the node's old value."""

    cpu: str | None = None
    memory: str | None = None
    pods: str | None = None
    accelerators: list[PingAccelerator] = []


class Taint(Message):
    """core/v1 ``Taint``."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class PingQueue(Message):
    """How many jobs run and wait at the site, over all users."""

    running: int = 0
    waiting: int = 0


class Ping(Message):
    """The answer to ``GET /status`` with ``[]``.

    ``taints`` absent leaves the node's taints, ``[]`` clears them. ``status`` is
    ``ok`` or ``degraded``; ``message`` then says why. ``backend``, ``message``,
    ``queue`` and ``observedAt`` are ours.
    """

    status: str = "ok"
    message: str = ""
    backend: str = ""
    resources: PingResources = PingResources()
    taints: list[Taint] | None = None
    queue: PingQueue | None = None
    observed_at: datetime | None = Field(None, alias="observedAt")


# --- logs ------------------------------------------------------------------------


class LogOptions(Message):
    """Zero means "not set". ``Bytes`` is Kubernetes' ``limitBytes``."""

    tail: int = Field(0, alias="Tail", ge=0)
    limit_bytes: int = Field(0, alias="Bytes", ge=0)
    timestamps: bool = Field(False, alias="Timestamps")
    follow: bool = Field(False, alias="Follow")
    previous: bool = Field(False, alias="Previous")
    since_seconds: int = Field(0, alias="SinceSeconds", ge=0)
    since_time: GoTime = Field(None, alias="SinceTime")

    @model_validator(mode="before")
    @classmethod
    def _accept_sdk_spelling(cls, data: Any) -> Any:
        """interLink's Python SDK says ``LimitBytes`` where Go says ``Bytes``."""
        if isinstance(data, dict) and "LimitBytes" in data:
            data = {**data, "Bytes": data["LimitBytes"]}
            del data["LimitBytes"]
        return data

    @model_validator(mode="after")
    def _one_of_each_pair(self) -> Self:
        if self.tail and self.limit_bytes:
            raise ValueError("Both Tail and LimitBytes set. Set only one of them")
        if self.since_seconds and self.since_time:
            raise ValueError("Both SinceSeconds and SinceTime set. Set only one")
        return self

    def since(self, now: datetime) -> datetime | None:
        """The earliest time asked for, or None."""
        if self.since_seconds:
            return datetime.fromtimestamp(now.timestamp() - self.since_seconds, UTC)
        return self.since_time


_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
POD_UID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""Pattern of a pod UID; checked before any path is built from one."""


class LogRequest(Message):
    """``GET /getLogs``. Names are checked because paths are built from them."""

    namespace: str = Field(alias="Namespace", pattern=_DNS_LABEL)
    pod_uid: str = Field(alias="PodUID", pattern=POD_UID)
    pod_name: str = Field(alias="PodName")
    container_name: str = Field(alias="ContainerName", pattern=_DNS_LABEL)
    options: LogOptions = Field(LogOptions(), alias="Opts")
