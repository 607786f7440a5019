"""The server options form: sites, policy and choice to HTML. Pure.

Owns what the form shows and in which words. Two parts of it change while it is
open, the accelerator table and the list of sites; :func:`fragments` renders them
for the page's script with the same templates. The rules stand in ``plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from interlink_sidecars.api.inventory import Accelerator
from interlink_sidecars.api.kubernetes import JSON

from .inventory import VirtualNode, accelerator_value
from .language import Language, duration, say
from .nodes import NodeTable
from .options import OffloadOptions, OptionsError, parse, walltime_text
from .plan import Policy, Request, choose, model_name, no_site, request, why_not

_WALLTIMES = (30, 60, 120, 240, 480, 720, 1440, 2880, 10080)  # minutes, as suggestions

_templates = Environment(
    loader=PackageLoader("interlinkspawner"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Devices of one model, at one site or summed; ``live`` as of a virtual node."""

    total: int
    used: int
    free: int
    live: bool


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site's share of a model."""

    label: str
    counts: Counts
    why_not: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One accelerator model over all sites; ``why_not`` empty when selectable."""

    value: str
    model: str
    resource_type: str
    counts: Counts
    sites: list[SiteRow]
    checked: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Backend:
    """One virtual node in "Enable offloading to"."""

    name: str
    label: str
    queue: str
    note: str
    checked: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything the templates show about the sites for one choice."""

    models: list[ModelRow]
    none_checked: bool
    backends: list[Backend]
    auto_checked: bool
    max_count: int
    summary: str
    problem: str
    observed_at: int
    """Unix time of the oldest numbers shown; 0 when none has an age."""


def tolerant(document: Mapping[str, Any], policy: Policy) -> OffloadOptions:
    """The options of a document without those that are refused.

    For what was saved by an older hub, written by REST, or half typed.
    """
    left = dict(document)
    while True:
        try:
            options = parse(left)
            request(options, policy)
        except OptionsError as error:
            if error.field not in left:
                return OffloadOptions()
            del left[error.field]
        else:
            return options


def view(
    options: OffloadOptions, policy: Policy, table: NodeTable, language: Language
) -> View:
    """What the form shows for one choice (see :func:`tolerant`)."""
    asked = request(options, policy)
    known = {accelerator_value(a) for n in table.nodes for a in n.accelerators}
    if asked.accelerator not in known:
        asked = replace(asked, accelerator="", count=0)
    chosen = next(
        (n for n in table.nodes if n.name == options.backend and not why_not(n, asked)),
        None,
    )
    return View(
        models=[_model(value, asked, table.nodes, language) for value in sorted(known)],
        none_checked=not asked.accelerator,
        backends=[
            _backend(node, asked, node is chosen, language) for node in table.nodes
        ],
        auto_checked=chosen is None,
        max_count=_max_count(asked.accelerator, table.nodes, chosen),
        summary=_summary(asked, chosen or choose(table.nodes, asked), table, language),
        problem=say(language, table.problem) if table.problem else "",
        observed_at=_observed_at(table),
    )


def render(
    document: Mapping[str, Any],
    policy: Policy,
    table: NodeTable,
    language: Language,
    *,
    now: float,
    asset: Callable[[str], str],
    inventory_url: str,
) -> str:
    """The whole form, without the ``<form>`` element and button of the hub's page.

    Args:
        document: the options to start from, trusted in nothing.
        policy: what this hub offers.
        table: the virtual nodes.
        language: of the texts.
        now: Unix time, for the age of the numbers.
        asset: file name in ``static/`` to its URL.
        inventory_url: where the script finds :func:`fragments`.
    """
    options = tolerant(document, policy)
    asked = request(options, policy)
    shown = view(options, policy, table, language)
    return _templates.get_template("form.html").render(
        t=partial(say, language),
        language=language,
        view=shown,
        policy=policy,
        image=asked.image.name,
        cpus=asked.cpus,
        memory=_gib(asked.memory),
        max_memory=_gib(policy.max_memory) if policy.max_memory else "",
        count=max(1, asked.count),
        walltime=walltime_text(asked.walltime),
        walltimes=[walltime_text(m) for m in _WALLTIMES if m <= policy.max_walltime],
        max_walltime=duration(policy.max_walltime * 60),
        age=duration(now - shown.observed_at) if shown.observed_at else "",
        asset=asset,
        inventory_url=inventory_url,
    )


def fragments(
    document: Mapping[str, Any], policy: Policy, table: NodeTable, language: Language
) -> JSON:
    """The changing parts of an open form as a JSON object.

    ``accelerators`` and ``backends`` are HTML; the rest are the fields of
    :class:`View` of the same name.
    """
    shown = view(tolerant(document, policy), policy, table, language)
    texts = {"t": partial(say, language), "view": shown}
    return {
        "accelerators": _templates.get_template("accelerators.html").render(texts),
        "backends": _templates.get_template("backends.html").render(texts),
        **{
            name: value
            for name, value in asdict(shown).items()
            if name in ("max_count", "summary", "problem", "observed_at")
        },
    }


# --- the parts of a view -----------------------------------------------------------


def _model(
    value: str, asked: Request, nodes: Sequence[VirtualNode], language: Language
) -> ModelRow:
    one = replace(asked, accelerator=value, count=1)
    having = [(node, a) for node in nodes if (a := node.accelerator(value))]
    reasons = [
        _reason(node, one, language) if node.ready else say(language, "not_ready")
        for node, _ in having
    ]
    rows = [
        SiteRow(node.label, _counts(node, accelerator), why)
        for (node, accelerator), why in zip(having, reasons, strict=True)
    ]
    usable = [row.counts for row in rows if not row.why_not] or [r.counts for r in rows]
    return ModelRow(
        value=value,
        model=model_name(value),
        resource_type=having[0][1].resource_type,
        counts=_sum(usable),
        sites=rows,
        checked=value == asked.accelerator,
        why_not="" if "" in reasons else reasons[0],
    )


def _backend(
    node: VirtualNode, asked: Request, checked: bool, language: Language
) -> Backend:
    accelerator = node.accelerator(asked.accelerator)
    why = _reason(node, asked, language)
    waits = bool(accelerator and node.live and accelerator.free < asked.count)
    return Backend(
        name=node.name,
        label=node.label,
        queue=say(
            language, "queue", running=node.queue.running, waiting=node.queue.waiting
        )
        if node.queue
        else "",
        note=say(language, "will_wait", free=accelerator.free)
        if accelerator and waits and not why
        else "",
        checked=checked,
        why_not=why,
    )


def _reason(node: VirtualNode, asked: Request, language: Language) -> str:
    obstacle = why_not(node, asked)
    return obstacle[1].say(language) if obstacle else ""


def _counts(node: VirtualNode, accelerator: Accelerator) -> Counts:
    return Counts(accelerator.total, accelerator.used, accelerator.free, node.live)


def _sum(counts: Sequence[Counts]) -> Counts:
    return Counts(
        total=sum(c.total for c in counts),
        used=sum(c.used for c in counts),
        free=sum(c.free for c in counts),
        live=all(c.live for c in counts),
    )


def _max_count(
    value: str, nodes: Sequence[VirtualNode], chosen: VirtualNode | None
) -> int:
    places = [chosen] if chosen else nodes
    totals = [a.total for node in places if (a := node.accelerator(value))]
    return max([1, *totals])


def _summary(
    asked: Request, node: VirtualNode | None, table: NodeTable, language: Language
) -> str:
    if node is None:
        why = no_site(table.nodes, asked).why.say(language)
        return f"{why[0].upper()}{why[1:]}."
    accelerator = node.accelerator(asked.accelerator)
    if accelerator is None:
        return say(language, "summary_cpu", site=node.label)
    if not node.live:
        key = "summary_unknown"
    else:
        key = "summary_free" if accelerator.free >= asked.count else "summary_wait"
    return say(
        language,
        key,
        count=asked.count,
        model=model_name(asked.accelerator),
        free=accelerator.free,
        total=accelerator.total,
        site=node.label,
    )


def _observed_at(table: NodeTable) -> int:
    times = [
        n.observed_at.timestamp() for n in table.nodes if n.ready and n.observed_at
    ]
    return int(min(times, default=table.since))


def _gib(size: int) -> str:
    """Bytes as a number of GiB, which is what a bare number in the field means."""
    return f"{size / 2**30:.3f}".rstrip("0").rstrip(".")
