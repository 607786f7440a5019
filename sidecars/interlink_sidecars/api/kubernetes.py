"""Read-only views of Kubernetes objects; the objects themselves stay raw JSON.

Source: the Kubernetes core/v1 API. A view names only what this project reads and
keeps every other field (``extra="allow"``), because a pod must reach the site
unchanged. ``null`` means "absent", as Go writes it for empty lists and maps.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

JSON: TypeAlias = dict[str, Any]
"""One raw JSON object."""


class View(BaseModel):
    """A frozen view that keeps unknown fields and treats ``null`` as absent."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class ObjectMeta(View):
    """``metadata`` of any object. Times are RFC 3339 strings."""

    name: str = ""
    namespace: str = "default"
    uid: str = ""
    resource_version: str = Field("", alias="resourceVersion")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[JSON] = Field([], alias="ownerReferences")
    creation_timestamp: str | None = Field(None, alias="creationTimestamp")
    deletion_timestamp: str | None = Field(None, alias="deletionTimestamp")
    deletion_grace_period_seconds: int | None = Field(
        None, alias="deletionGracePeriodSeconds"
    )


class EnvVar(View):
    """One variable; ``value_from`` is raw and absent once resolved."""

    name: str
    value: str = ""
    value_from: JSON | None = Field(None, alias="valueFrom")


class ContainerPort(View):
    """One declared port of a container."""

    name: str = ""
    container_port: int = Field(alias="containerPort")
    protocol: str = "TCP"


class VolumeMount(View):
    """Where a volume appears in a container."""

    name: str
    mount_path: str = Field(alias="mountPath")
    sub_path: str = Field("", alias="subPath")
    read_only: bool = Field(False, alias="readOnly")


class ResourceRequirements(View):
    """Quantities by resource name."""

    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}


class Container(View):
    """One container of a pod, init containers included."""

    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = Field("", alias="workingDir")
    env: list[EnvVar] = []
    env_from: list[JSON] = Field([], alias="envFrom")
    ports: list[ContainerPort] = []
    volume_mounts: list[VolumeMount] = Field([], alias="volumeMounts")
    resources: ResourceRequirements = ResourceRequirements()


class Volume(View):
    """A named volume; each source is raw, and at most one is present."""

    name: str
    config_map: JSON | None = Field(None, alias="configMap")
    secret: JSON | None = None
    projected: JSON | None = None
    downward_api: JSON | None = Field(None, alias="downwardAPI")
    empty_dir: JSON | None = Field(None, alias="emptyDir")
    host_path: JSON | None = Field(None, alias="hostPath")
    persistent_volume_claim: JSON | None = Field(None, alias="persistentVolumeClaim")


class PodSpec(View):
    """What a pod asks for."""

    containers: list[Container] = []
    init_containers: list[Container] = Field([], alias="initContainers")
    volumes: list[Volume] = []
    restart_policy: str = Field("Always", alias="restartPolicy")
    active_deadline_seconds: int | None = Field(None, alias="activeDeadlineSeconds")
    termination_grace_period_seconds: int = Field(
        30, alias="terminationGracePeriodSeconds"
    )
    node_name: str = Field("", alias="nodeName")
    node_selector: dict[str, str] = Field({}, alias="nodeSelector")
    tolerations: list[JSON] = []
    service_account_name: str = Field("default", alias="serviceAccountName")


class Pod(View):
    """A pod; ``status`` is raw because each reader wants another part of it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: JSON = {}

    @property
    def key(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def uid(self) -> str:
        """The pod's unique id: the one identity that outlives a reused name."""
        return self.metadata.uid

    @property
    def phase(self) -> str:
        """``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
        return str(self.status.get("phase", "Pending"))
