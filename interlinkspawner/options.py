"""Server options: read them, and check them against policy and sites. Pure.

The same :class:`OffloadOptions` is read from the form, the query of ``/hub/spawn``
and the REST API's ``user_options``; an empty document means the defaults. Fields,
under the same names in all three:

============= ====================================================================
image         name of one of the spawner's ``images``
cpus          whole number of cores
memory        quantity (``512Mi``, ``8Gi``); a bare number is GiB
accelerator   ``<resource type>/<model>`` (``xilinx.com/fpga/u55c``), empty for none
count         whole number of devices of that model
backend       name of a virtual node, or ``auto``
walltime      ``30m``, ``2h``, ``1d``; a bare number is minutes
language      ``en`` or ``it``, of the sentences shown during the start
============= ====================================================================

It must not know how a pod is made or where the nodes come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from interlink_sidecars.api import quantity
from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.inventory import Accelerator
from interlink_sidecars.api.kubernetes import JSON

from .inventory import VirtualNode, accelerator_value
from .language import LANGUAGES, Language, Message, duration
from .language import memory as memory_text

AUTO = "auto"
_GIB = 2**30
_MINUTES = {"": 1, "m": 1, "h": 60, "d": 24 * 60}


class OptionsError(ValueError):
    """A refused option; ``message`` names the field and says what is wrong."""

    def __init__(self, field: str, why: Message) -> None:
        self.field = field
        self.message = Message("refused", field=field, why=why)
        super().__init__(self.message.say("en"))


# --- reading -----------------------------------------------------------------------


def _refuse(key: str, value: object) -> PydanticCustomError:
    shown = repr(value)
    return PydanticCustomError(
        key,
        "{value}",
        {"value": shown if len(shown) <= 60 else shown[:59] + "…"},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _refuse("not_a_string", value)
    return value.strip()


def _whole(value: object) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        number = int(value)
    else:
        raise _refuse("not_whole", value)
    if not 1 <= number < 10**9:
        raise _refuse("not_whole", value)
    return number


def memory_size(value: object) -> int | None:
    """Bytes of an amount of memory as a person writes it; None when absent."""
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refuse("not_memory", value)
    text = str(value).strip()
    try:
        size = quantity.ceil(f"{text}Gi" if re.fullmatch(r"[0-9.]+", text) else text)
    except InvalidRequestError as error:
        raise _refuse("not_memory", value) from error
    if not 2**20 <= size < 2**60:
        raise _refuse("not_memory", value)
    return size


def walltime_minutes(value: object) -> int | None:
    """Minutes of a time limit as a person writes it; None when absent."""
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refuse("not_walltime", value)
    match = re.fullmatch(r"\s*([0-9]{1,7})\s*([mhd]?)\s*", str(value))
    minutes = int(match[1]) * _MINUTES[match[2]] if match else 0
    if not 1 <= minutes < 10**7:
        raise _refuse("not_walltime", value)
    return minutes


def _memory(value: object) -> str | None:
    size = memory_size(value)
    if size is None:
        return None
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{-(-size // 2**20)}Mi"


def _language(value: object) -> object:
    if value not in LANGUAGES:
        raise _refuse("unknown_language", value)
    return value


Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
Whole: TypeAlias = Annotated[int | None, BeforeValidator(_whole)]


class OffloadOptions(BaseModel):
    """What a user asked for; None or empty where the default shall hold.

    ``memory`` is a canonical quantity, ``walltime`` is in minutes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Text = ""
    cpus: Whole = None
    memory: Annotated[str | None, BeforeValidator(_memory)] = None
    accelerator: Text = ""
    count: Whole = None
    backend: Text = AUTO
    walltime: Annotated[int | None, BeforeValidator(walltime_minutes)] = None
    language: Annotated[Language, BeforeValidator(_language)] = "en"

    def to_json(self) -> JSON:
        """The document as JupyterHub stores it in ``user_options``."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse(document: Mapping[str, Any]) -> OffloadOptions:
    """Read ``user_options``, whoever wrote them.

    Raises:
        OptionsError: a field is unknown or of the wrong shape.
    """
    try:
        return OffloadOptions.model_validate(dict(document))
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"])[:60]
        if first["type"] == "extra_forbidden":
            known = ", ".join(OffloadOptions.model_fields)
            raise OptionsError(field, Message("unknown_field", known=known)) from None
        raise OptionsError(
            field, Message(first["type"], **first.get("ctx", {}))
        ) from None


def parse_form(data: Mapping[str, Sequence[str]]) -> OffloadOptions:
    """Read a form post or a query: lists of strings, empty where not filled in.

    Raises:
        OptionsError: as :func:`parse`, and a field that was given twice.
    """
    document = {}
    for field, values in data.items():
        if field == "_xsrf":
            continue
        if len(values) > 1:
            raise OptionsError(field[:60], Message("given_twice"))
        if values and values[0] != "":
            document[field] = values[0]
    return parse(document)


# --- checking ----------------------------------------------------------------------


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
    """What this hub offers. Memory in bytes, walltime in minutes, 0 = no limit.

    ``images`` is never empty and its first one is the default.
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
        raise OptionsError("backend", Message("none_known"))
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
            raise OptionsError(field, Message("site_cannot", site=node.name, why=why))
        return Plan(asked, node)
    chosen = choose(nodes, asked)
    if chosen is None:
        raise _no_site(nodes, asked)
    return Plan(asked, chosen)


def choose(nodes: Sequence[VirtualNode], asked: Request) -> VirtualNode | None:
    """*Automatic*: of the sites that can run it, most free, then shortest queue."""

    def rank(node: VirtualNode) -> tuple[bool, int, int, str]:
        accelerator = node.accelerator(asked.accelerator)
        free = accelerator.free if accelerator and node.live else 0
        waiting = node.queue.waiting if node.queue else 0
        return (free < asked.count, -free, waiting, node.name)

    able = [node for node in nodes if why_not(node, asked) is None]
    return min(able, key=rank, default=None)


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


def walltime_text(minutes: int) -> str:
    """Minutes as :func:`walltime_minutes` reads them, in the largest whole unit."""
    for unit in ("d", "h"):
        if minutes % _MINUTES[unit] == 0:
            return f"{minutes // _MINUTES[unit]}{unit}"
    return f"{minutes}m"


def walltime_duration(minutes: int) -> str:
    """Minutes as a person reads them."""
    return duration(minutes * 60)


def _within(field: str, value: int, limit: int, text: Any) -> None:
    if limit and value > limit:
        raise OptionsError(
            field, Message("over_limit", value=text(value), limit=text(limit))
        )


def _known_accelerator(value: str, nodes: Sequence[VirtualNode]) -> None:
    known = sorted({accelerator_value(a) for n in nodes for a in n.accelerators})
    if value and value not in known:
        raise OptionsError("accelerator", _unknown("unknown_accelerator", value, known))


def _no_site(nodes: Sequence[VirtualNode], asked: Request) -> OptionsError:
    """Why *Automatic* found nothing, in one sentence."""
    obstacles = [(node, why_not(node, asked)) for node in nodes]
    if not any(node.ready and not node.cordoned for node in nodes):
        return OptionsError("backend", Message("none_ready"))
    fields = [found[0] for _, found in obstacles if found and found[0] != "backend"]
    parts: Message | str = ""
    for node, found in obstacles:
        if found:
            one = Message("site_cannot", site=node.name, why=found[1])
            parts = Message("list", first=parts, second=one) if parts else one
    return OptionsError(fields[0], Message("no_site_can", whys=parts))


def _unknown(key: str, value: str, known: list[str]) -> Message:
    shown = repr(value if len(value) <= 60 else value[:59] + "…")
    return Message(key, value=shown, known=", ".join(known) or Message("nothing"))
