"""Kubernetes quantities are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.api import quantity
from interlink_sidecars.api.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", Fraction(1, 2)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1e3", Fraction(1000)),
        ("2E", Fraction(2 * 10**18)),
        (".5", Fraction(1, 2)),
        (4, Fraction(4)),
        ("100k", Fraction(100_000)),
    ],
)
def test_values(text: str, value: Fraction) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1Kib", "1 0", "0x10", "1e", "--1", "NaN"])
def test_what_is_no_quantity_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="not a Kubernetes quantity"):
        quantity.parse(text)


@given(st.integers(0, 10**12))
def test_milli_units_never_lose_a_part(count: int) -> None:
    assert quantity.parse(f"{count}m") * 1000 == count
    assert quantity.ceil(f"{count}m") == -(-count // 1000)
