"""CreateRequest to JobSpec: what a pod asks of a scheduler.

Everything in a pod is untrusted: names are checked here, before any path, job name
or command is built from them. It must not know schedulers, runtimes or files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .api.errors import InvalidRequestError
from .api.kubernetes import JSON, Container, Pod
from .api.messages import POD_UID
from .api.names import ACCELERATORS, HUB_USERNAME, SLURM_FLAGS
from .api.quantity import parse

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
LONGEST_WALLTIME = 366 * 24 * 3600
LONGEST_GRACE = 600


class AcceleratorRequest(BaseModel):
    """Devices asked for; ``model`` is lower case and empty where any will do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    resource_type: str = Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    model: str = Field("", pattern=r"^([a-z0-9]([a-z0-9._-]*[a-z0-9])?)?$")
    count: int = Field(ge=1, le=1024)


class ContainerName(BaseModel):
    """A container as its status needs it."""

    model_config = ConfigDict(frozen=True)

    name: str
    image: str = ""
    init: bool = False


class JobSpec(BaseModel):
    """One pod as one job.

    ``cpus`` are whole cores, ``memory`` bytes (0: the site's default), ``walltime``
    and ``grace`` seconds (walltime 0: the site's default). ``owner`` is the hub user,
    empty for a pod that no hub made. ``flags`` are the raw ``sbatch`` options.
    """

    model_config = ConfigDict(frozen=True)

    uid: str
    namespace: str
    name: str
    owner: str = ""
    containers: tuple[ContainerName, ...] = ()
    cpus: int = 1
    memory: int = 0
    accelerators: tuple[AcceleratorRequest, ...] = ()
    walltime: int = 0
    grace: int = 30
    flags: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def job_name(self) -> str:
        """The name at the scheduler: ``il-`` and 12 digits of the pod's uid."""
        return "il-" + self.uid.replace("-", "")[:12]


def read_pod(document: JSON) -> Pod:
    """The view of a pod whose identity is safe to build paths from.

    Raises:
        InvalidRequestError: naming the field that is wrong.
    """
    try:
        pod = Pod.model_validate(document)
    except ValidationError as error:
        raise invalid(error, "pod") from error
    meta = pod.metadata
    _require(re.fullmatch(POD_UID, meta.uid), "metadata.uid", meta.uid, "a pod UID")
    _require(
        _LABEL.fullmatch(meta.namespace), "metadata.namespace", meta.namespace, "a name"
    )
    _require(
        _SUBDOMAIN.fullmatch(meta.name), "metadata.name", meta.name, "a pod's name"
    )
    names = [c.name for c in (*pod.spec.init_containers, *pod.spec.containers)]
    for name in names:
        _require(_LABEL.fullmatch(name), "a container's name", name, "a name")
    for name in (volume.name for volume in pod.spec.volumes):
        _require(_LABEL.fullmatch(name), "a volume's name", name, "a name")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidRequestError(
            f"Pod {pod.key} has two containers named {twice[0]!r}."
        )
    return pod


def identity(pod: Pod) -> JobSpec:
    """A pod of which nothing but its identity and its containers is known."""
    return JobSpec(
        uid=pod.uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        owner=pod.metadata.annotations.get(HUB_USERNAME, ""),
        containers=tuple(
            ContainerName(name=c.name, image=c.image, init=init)
            for init, group in (
                (True, pod.spec.init_containers),
                (False, pod.spec.containers),
            )
            for c in group
        ),
    )


def job_spec(pod: Pod) -> JobSpec:
    """What the pod asks for.

    Resources are counted as Kubernetes does: the larger of the sum over containers
    and the greatest init container; limits before requests.

    Raises:
        InvalidRequestError: the pod asks for what no batch job can give.
    """
    spec = pod.spec
    if not spec.containers:
        raise InvalidRequestError(f"Pod {pod.key} has no container.")
    for container in spec.init_containers:
        if container.model_dump().get("restartPolicy") == "Always":
            raise InvalidRequestError(
                f"Init container {container.name!r} of pod {pod.key} has restartPolicy"
                " Always; a batch job starts its containers only after it has ended."
            )
    walltime = spec.active_deadline_seconds or 0
    if not 0 <= walltime <= LONGEST_WALLTIME:
        raise InvalidRequestError(
            f"spec.activeDeadlineSeconds of pod {pod.key} is {walltime};"
            f" it must lie between 1 and {LONGEST_WALLTIME} seconds."
        )
    return identity(pod).model_copy(
        update={
            "cpus": max(1, ceil(_total(pod, "cpu"))),
            "memory": ceil(_total(pod, "memory")),
            "accelerators": _accelerators(pod),
            "walltime": walltime,
            "grace": min(max(1, spec.termination_grace_period_seconds), LONGEST_GRACE),
            "flags": pod.metadata.annotations.get(SLURM_FLAGS, ""),
        }
    )


def _total(pod: Pod, resource: str) -> Fraction:
    return max(
        sum((_asked(c, resource) for c in pod.spec.containers), Fraction(0)),
        max(
            (_asked(c, resource) for c in pod.spec.init_containers),
            default=Fraction(0),
        ),
    )


def _asked(container: Container, resource: str) -> Fraction:
    resources = container.resources
    value = resources.limits.get(resource, resources.requests.get(resource, 0))
    quantity = parse(value)
    if quantity < 0:
        raise InvalidRequestError(
            f"Container {container.name!r} asks for {value} of {resource}."
        )
    return quantity


def _accelerators(pod: Pod) -> tuple[AcceleratorRequest, ...]:
    """The annotation names the models, the limits count the devices."""
    limits = {
        resource: ceil(_total(pod, resource))
        for resource in sorted(_extended_resources(pod))
    }
    named: list[AcceleratorRequest] = []
    annotation = pod.metadata.annotations.get(ACCELERATORS)
    if annotation is not None:
        try:
            named = _REQUESTS.validate_python(json.loads(annotation))
        except ValueError as error:
            raise InvalidRequestError(
                f"Annotation {ACCELERATORS} of pod {pod.key} is not a list of"
                f" resource_type, model and count: {_first_line(error)}."
            ) from error
    counted: Counter[str] = Counter()
    for request in named:
        counted[request.resource_type] += request.count
    for resource, count in counted.items():
        if limits.get(resource, 0) != count:
            raise InvalidRequestError(
                f"Pod {pod.key} names {count} x {resource} in annotation {ACCELERATORS}"
                f" but limits {limits.get(resource, 0)}; the two must agree."
            )
    rest = [
        AcceleratorRequest(resource_type=resource, count=count)
        for resource, count in limits.items()
        if count and resource not in counted
    ]
    return (*named, *rest)


_REQUESTS = TypeAdapter(list[AcceleratorRequest])


def _extended_resources(pod: Pod) -> Iterable[str]:
    return {
        resource
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for resource in container.resources.limits
        if "/" in resource
    }


def invalid(error: ValidationError, what: str) -> InvalidRequestError:
    """The first complaint of a validation as a sentence that names the field."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in (what, *first["loc"]) if part != "")
    return InvalidRequestError(f"{field}: {first['msg']}.")


def _require(match: Any, field: str, value: str, kind: str) -> None:
    if not match:
        raise InvalidRequestError(f"{field} is {value[:80]!r}, which is not {kind}.")


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return invalid(error, "").message.rstrip(".")
    return str(error)
