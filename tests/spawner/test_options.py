"""Options from form, query and REST: what is read, refused and chosen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlinkspawner.options import (
    OffloadOptions,
    OptionsError,
    memory_size,
    parse,
    parse_form,
    walltime_minutes,
)


def test_form_and_rest_read_alike() -> None:
    form = parse_form(
        {
            "_xsrf": ["x"],
            "image": ["lab:1"],
            "cpus": ["4"],
            "memory": ["8"],
            "accelerator": ["xilinx.com/fpga/u55c"],
            "count": ["1"],
            "backend": ["hpc"],
            "walltime": ["2h"],
            "language": ["it"],
        }
    )
    rest = parse(
        {
            "image": "lab:1",
            "cpus": 4,
            "memory": "8Gi",
            "accelerator": "xilinx.com/fpga/u55c",
            "count": 1,
            "backend": "hpc",
            "walltime": 120,
            "language": "it",
        }
    )
    assert form == rest
    assert parse(form.to_json()) == form


def test_empty_form_fields_mean_the_defaults() -> None:
    assert parse_form({"accelerator": [""], "count": [""], "cpus": []}) == parse({})


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(OptionsError, match="count: given more than once"):
        parse_form({"count": ["1", "2"]})


@pytest.mark.parametrize(
    ("text", "minutes"), [("90", 90), (90, 90), (" 30m", 30), ("2h", 120), ("1d", 1440)]
)
def test_walltime(text: object, minutes: int) -> None:
    assert walltime_minutes(text) == minutes


@pytest.mark.parametrize(
    ("text", "size"),
    [("4", 4 * 2**30), (0.5, 2**29), ("512Mi", 2**29), ("8Gi", 2**33), ("1G", 10**9)],
)
def test_memory(text: object, size: int) -> None:
    assert memory_size(text) == size


field_names = st.sampled_from(list(OffloadOptions.model_fields)) | st.text()


@given(st.dictionaries(field_names, st.lists(st.text(), max_size=2)))
def test_any_form_is_accepted_or_refused_with_a_sentence(data: Any) -> None:
    try:
        options = parse_form(data)
    except OptionsError as error:
        refusal = str(error)
        assert ": " in refusal
    else:
        assert parse(options.to_json()) == options
