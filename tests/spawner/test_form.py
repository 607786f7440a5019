"""The form's HTML, as golden files, and what it may never do."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlinkspawner import form
from interlinkspawner.inventory import virtual_node
from interlinkspawner.language import Language
from interlinkspawner.nodes import NodeTable
from interlinkspawner.options import OffloadOptions
from interlinkspawner.plan import Image, Policy
from tests.spawner.virtual_nodes import OBSERVED, accelerator, node, sites

TABLE = NodeTable(tuple(virtual_node(each) for each in sites()))
POLICY = Policy(
    images=(
        Image(name="lab:1", display_name="JupyterLab", description="Python"),
        Image(name="fpga:1", display_name="FPGA <tools>", backends=["slurm"]),
    ),
    max_cpus=32,
    max_memory=64 * 2**30,
)


def render(
    document: dict[str, Any],
    table: NodeTable = TABLE,
    policy: Policy = POLICY,
    language: Language = "en",
) -> str:
    return form.render(
        document,
        policy,
        table,
        language,
        now=OBSERVED.timestamp() + 3,
        asset=lambda name: f"/hub/interlink/static/{name}?v=1",
        inventory_url="/hub/interlink/inventory",
    )


class Inputs(HTMLParser):
    """Every input of a form by (name, value), with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[tuple[str, str], dict[str, str | None]] = {}
        self.labels: set[str | None] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "input":
            key = (attributes["name"] or "", attributes.get("value") or "")
            self.found[key] = attributes
        if tag == "label":
            self.labels.add(attributes.get("for"))


@pytest.mark.parametrize("language", ["en", "it"])
def test_several_sites(golden: Callable[[str, Any], None], language: Language) -> None:
    document = {"accelerator": "nvidia.com/gpu/a100", "count": 3, "walltime": 240}
    html = render(document, language=language)
    golden(f"spawner/form-sites-{language}.html", html)


def test_one_site_one_image(golden: Callable[[str, Any], None]) -> None:
    table = NodeTable(TABLE.nodes[:1])
    policy = Policy(images=(Image(name="lab:1"),))
    document = {"accelerator": "xilinx.com/fpga/u55c"}
    golden("spawner/form-full.html", render(document, table, policy))


def test_no_site(golden: Callable[[str, Any], None]) -> None:
    table = NodeTable(problem="forbidden")
    golden("spawner/form-none.html", render({}, table))


def test_impossible_choices_are_disabled_and_say_why() -> None:
    html = render({"accelerator": "nvidia.com/gpu/a100", "count": 3})
    inputs = Inputs(html).found
    assert "disabled" in inputs["backend", "hpc"]
    assert "has only 2 " in html
    assert "disabled" not in inputs["backend", "grid"]
    assert "disabled" in inputs["backend", "lab"]
    assert "the sidecar does not answer" in html
    assert "disabled" in inputs["accelerator", "xilinx.com/fpga/u250"]


def test_a_full_but_possible_choice_stays_selectable() -> None:
    html = render({"accelerator": "xilinx.com/fpga/u55c"})
    inputs = Inputs(html).found
    assert "checked" in inputs["accelerator", "xilinx.com/fpga/u55c"]
    assert "disabled" not in inputs["backend", "hpc"]
    assert "0 free: your job will wait in the queue" in html


def test_the_summary_says_why_nothing_can_run() -> None:
    document = {"accelerator": "xilinx.com/fpga/u55c", "count": 3}
    summary = form.fragments(document, POLICY, TABLE, "en")["summary"]
    assert summary.startswith("No site can run this: Slurm · cnaf has only 2 ")
    none = form.fragments({}, POLICY, NodeTable(), "en")["summary"]
    assert none.startswith("No site is connected to this hub.")


def test_every_control_has_a_label() -> None:
    inputs = Inputs(render({}))
    shown = [a for a in inputs.found.values() if a.get("type") != "hidden"]
    assert len(shown) > 10
    assert {a["id"] for a in shown} == inputs.labels


def test_the_last_options_are_remembered() -> None:
    saved = {"image": "fpga:1", "cpus": 8, "memory": "16Gi", "walltime": 90}
    inputs = Inputs(render(saved)).found
    assert "checked" in inputs["image", "fpga:1"]
    assert ("cpus", "8") in inputs
    assert ("memory", "16") in inputs
    assert ("walltime", "90m") in inputs


def test_of_saved_options_only_the_refused_ones_are_forgotten() -> None:
    saved = {"image": "gone:1", "cpus": 8, "memory": "lots", "old": 1, "backend": "x"}
    assert form.tolerant(saved, POLICY) == OffloadOptions(cpus=8, backend="x")
    assert "checked" in Inputs(render(saved)).found["backend", "auto"]


def test_names_from_a_site_are_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    table = NodeTable(
        (virtual_node(node("hpc", [accelerator("x/y", evil, 1, 0)], site=evil)),)
    )
    html = render({"backend": evil, "image": evil}, table)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_fragments_are_the_same_html() -> None:
    document = {"accelerator": "nvidia.com/gpu/a100"}
    parts = form.fragments(document, POLICY, TABLE, "en")
    html = render(document)
    assert parts["accelerators"] in html
    assert parts["backends"] in html
    assert parts["max_count"] == 8
    assert parts["observed_at"] == OBSERVED.timestamp()
    assert "A100 can start now: 7 of 8 free" in parts["summary"]


@given(st.dictionaries(st.sampled_from(list(OffloadOptions.model_fields)), st.text()))
def test_any_saved_options_give_a_form(document: dict[str, Any]) -> None:
    assert 'id="interlink-form"' in render(document)
