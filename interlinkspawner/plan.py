"""From options to a place: what a hub and its sites can do with a request. Pure.

The one rule of what may start, used by the form (why a choice is impossible), by
*Automatic* and by every start. It must not know how a pod is made or where the
nodes come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from pydantic import BaseModel, ConfigDict, Field

from interlink_sidecars.api.inventory import Accelerator

from .inventory import VirtualNode, accelerator_value
from .language import Message
from .language import memory as memory_text
from .options import AUTO, OffloadOptions, OptionsError, memory_size, walltime_text

_GIB = 2**30
_FIELDS = ("backend", "image", "accelerator", "count", "cpus", "memory")
"""The fields that can make a site unsuitable, in the order of :func:`why_not`."""


class Image(BaseModel):
    """One entry of the spawner's ``images``.

    ``name`` is the image reference; ``backends`` are the backends or virtual nodes
    that have it, empty for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    display_name: str = ""
    description: str = ""
    backends: list[str] = []

    @property
    def label(self) -> str:
        """What people read."""
        return self.display_name or self.name


@dataclass(frozen=True, slots=True)
class Policy:
    """What this hub offers. Memory in bytes, walltime in minutes.

    ``images`` is never empty and its first one is the default. No default is over its
    maximum; 0 CPUs or memory at most means what the site has.
    """

    images: tuple[Image, ...]
    default_cpus: int = 1
    max_cpus: int = 0
    default_memory: int = 2 * _GIB
    max_memory: int = 0
    default_walltime: int = 120
    max_walltime: int = 24 * 60


@dataclass(frozen=True, slots=True)
class Request:
    """Options with the defaults filled in: everything but the place.

    ``accelerator`` is an ``accelerator_value`` or empty; ``count`` is then 0.
    """

    image: Image
    cpus: int
    memory: int
    accelerator: str
    count: int
    walltime: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A request and the virtual node that it goes to."""

    request: Request
    node: VirtualNode

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator asked for, as the node has it."""
        return self.node.accelerator(self.request.accelerator)


def request(options: OffloadOptions, policy: Policy) -> Request:
    """Fill in the defaults and hold the options against the hub's limits.

    Raises:
        OptionsError: a value that this hub does not offer.
    """
    images = {image.name: image for image in policy.images}
    image = images.get(options.image or policy.images[0].name)
    if image is None:
        raise OptionsError(
            "image", _unknown("unknown_image", options.image, list(images))
        )
    if not options.accelerator and (options.count or 1) > 1:
        raise OptionsError(
            "count", Message("no_accelerator_chosen", value=options.count)
        )
    asked = Request(
        image=image,
        cpus=options.cpus or policy.default_cpus,
        memory=memory_size(options.memory) or policy.default_memory,
        accelerator=options.accelerator,
        count=(options.count or 1) if options.accelerator else 0,
        walltime=options.walltime or policy.default_walltime,
    )
    _within("cpus", asked.cpus, policy.max_cpus, str)
    _within("memory", asked.memory, policy.max_memory, memory_text)
    _within("walltime", asked.walltime, policy.max_walltime, walltime_text)
    return asked


def plan(options: OffloadOptions, policy: Policy, nodes: Sequence[VirtualNode]) -> Plan:
    """Choose the place for a start. The one rule of what may start at all.

    Raises:
        OptionsError: as :func:`request`, and a request that the chosen site, or
            with ``auto`` every site, could never run.
    """
    asked = request(options, policy)
    if not nodes:
        raise no_site(nodes, asked)
    _known_accelerator(asked.accelerator, nodes)
    if options.backend != AUTO:
        node = next((each for each in nodes if each.name == options.backend), None)
        if node is None:
            raise OptionsError(
                "backend",
                _unknown("unknown_backend", options.backend, [n.name for n in nodes]),
            )
        obstacle = why_not(node, asked)
        if obstacle:
            field, why = obstacle
            raise OptionsError(field, Message("site_cannot", site=node.label, why=why))
        return Plan(asked, node)
    chosen = choose(nodes, asked)
    if chosen is None:
        raise no_site(nodes, asked)
    return Plan(asked, chosen)


def choose(nodes: Sequence[VirtualNode], asked: Request) -> VirtualNode | None:
    """*Automatic*: of the sites that can run it, most free, then shortest queue.

    A site that does not tell its counts comes last among equals.
    """

    def rank(node: VirtualNode) -> tuple[bool, int, bool, int, str]:
        accelerator = node.accelerator(asked.accelerator)
        free = accelerator.free if accelerator and node.live else 0
        waiting = node.queue.waiting if node.queue else 0
        return (free < asked.count, -free, not node.live, waiting, node.name)

    able = [node for node in nodes if why_not(node, asked) is None]
    return min(able, key=rank, default=None)


def no_site(nodes: Sequence[VirtualNode], asked: Request) -> OptionsError:
    """Why :func:`choose` found nothing, said of the sites that come closest."""
    if not nodes:
        return OptionsError("backend", Message("none_known"))
    if not any(node.ready and not node.cordoned for node in nodes):
        return OptionsError("backend", Message("none_ready"))
    found = [(node, *why) for node in nodes if (why := why_not(node, asked))]
    field = max((field for _, field, _ in found), key=_FIELDS.index)
    whys = [
        Message("site_cannot", site=node.label, why=why)
        for node, at, why in found
        if at == field
    ]
    sentence = reduce(lambda a, b: Message("list", first=a, second=b), whys)
    return OptionsError(field, Message("no_site_can", whys=sentence))


def why_not(node: VirtualNode, asked: Request) -> tuple[str, Message] | None:
    """The field and the reason why a node could never run a request, or None.

    All devices in use is no reason: the job waits in the site's queue.
    """
    if not node.ready:
        if node.message:
            return "backend", Message("not_ready_because", why=node.message)
        return "backend", Message("not_ready")
    if node.cordoned:
        return "backend", Message("cordoned")
    if asked.image.backends and not {node.name, node.backend} & {*asked.image.backends}:
        return "image", Message("no_image")
    if asked.accelerator:
        model = model_name(asked.accelerator)
        accelerator = node.accelerator(asked.accelerator)
        if accelerator is None or not accelerator.total:
            return "accelerator", Message("no_model", model=model)
        if accelerator.total < asked.count:
            return "count", Message("too_few", total=accelerator.total, model=model)
    if node.cpus and node.cpus < asked.cpus:
        return "cpus", Message("too_few_cpus", total=node.cpus)
    if node.memory and node.memory < asked.memory:
        return "memory", Message("too_little_memory", total=memory_text(node.memory))
    return None


def model_name(value: str) -> str:
    """How people write the model of an ``accelerator_value``: ``U55C``.

    A resource without model (``nvidia.com/gpu``) keeps its full name.
    """
    return value.rpartition("/")[2].upper() if value.count("/") > 1 else value


def _within(field: str, value: int, limit: int, text: Callable[[int], str]) -> None:
    if limit and value > limit:
        raise OptionsError(
            field, Message("over_limit", value=text(value), limit=text(limit))
        )


def _known_accelerator(value: str, nodes: Sequence[VirtualNode]) -> None:
    known = sorted({accelerator_value(a) for n in nodes for a in n.accelerators})
    if value and value not in known:
        raise OptionsError("accelerator", _unknown("unknown_accelerator", value, known))


def _unknown(key: str, value: str, known: list[str]) -> Message:
    shown = repr(value if len(value) <= 60 else value[:59] + "…")
    return Message(key, value=shown, known=", ".join(known) or Message("nothing"))
