"""Kubernetes quantities: ``100m``, ``2Gi``, ``1e3`` to exact numbers.

Source: ``k8s.io/apimachinery/pkg/api/resource`` (quantity grammar). Exact, because
half a core must not become none: values are :class:`~fractions.Fraction` until the
caller rounds.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from .errors import InvalidRequestError

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{s: Fraction(1000**i) for i, s in enumerate("kMGTPE", start=1)},
    **{f"{s}i": Fraction(1024**i) for i, s in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))"
    r"(?:(?P<exponent>[eE][+-]?\d{1,3})|(?P<suffix>[KMGTPE]i|[numkMGTPE])?)"
)


def parse(text: str | float) -> Fraction:
    """The exact value of a quantity.

    Raises:
        InvalidRequestError: ``text`` is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None:
        raise InvalidRequestError(
            f"{text!r} is not a Kubernetes quantity, such as 500m, 2 or 4Gi.",
            reason="InvalidQuantity",
        )
    if match["exponent"]:
        return Fraction(match["number"] + match["exponent"])
    return Fraction(match["number"]) * _SUFFIXES[match["suffix"] or ""]


def ceil(text: str | float) -> int:
    """The quantity rounded up to a whole number (cores, bytes, devices)."""
    return math.ceil(parse(text))
