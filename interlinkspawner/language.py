"""What people read on the form and the pending page, in English and Italian.

Owns the catalogue (``locale/``) and the choice of language. A :class:`Message` is a
sentence that does not know its language yet, so that rules can be pure and errors can
be rendered where the reader is known. It must not know any rule.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

Language: TypeAlias = Literal["en", "it"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

BACKEND_NAMES: Mapping[str, str] = MappingProxyType(
    {"slurm": "Slurm", "htcondor": "HTCondor", "docker": "Docker", "local": "Local"}
)
"""Product names of the backends; any other is shown as the site spells it."""


def _catalogue(language: Language) -> Mapping[str, str]:
    text = (
        files("interlinkspawner").joinpath(f"locale/{language}.toml").read_text("utf-8")
    )
    return MappingProxyType(tomllib.loads(text))


_CATALOGUE = MappingProxyType({each: _catalogue(each) for each in LANGUAGES})


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence of the catalogue with its values, in no language yet.

    A value may be a :class:`Message` itself.
    """

    key: str
    values: Mapping[str, Any]

    def __init__(self, key: str, **values: Any) -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "values", values)

    def say(self, language: Language) -> str:
        """The sentence in one language."""
        return _CATALOGUE[language][self.key].format(
            **{
                name: value.say(language) if isinstance(value, Message) else value
                for name, value in self.values.items()
            }
        )


def say(language: Language, key: str, **values: Any) -> str:
    """Sentence ``key`` of the catalogue."""
    return Message(key, **values).say(language)


def negotiate(accept_language: str) -> Language:
    """The best language for an ``Accept-Language`` header (RFC 9110, 12.5.4)."""
    best, best_quality = LANGUAGES[0], 0.0
    for part in accept_language.split(","):
        match = re.fullmatch(
            r"\s*([a-z]{2,8})(?:-[\w-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*",
            part.lower(),
        )
        if match is None:
            continue
        quality = float(match[2] or 1)
        for language in LANGUAGES:
            if match[1] == language and quality > best_quality:
                best, best_quality = language, quality
    return best


def language_of(document: Mapping[str, Any]) -> Language:
    """The language named in a document of options, however wrong the rest is."""
    return "it" if document.get("language") == "it" else "en"


def backend_name(backend: str) -> str:
    """A backend as people write it."""
    return BACKEND_NAMES.get(backend, backend)


def duration(seconds: float) -> str:
    """A time span in its two largest units: ``45 s``, ``12 min``, ``2 h 5 min``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{n} {unit}" for n, unit in parts[:2] if n) or "0 s"


def memory(size: int) -> str:
    """A number of bytes in the largest binary unit that reads well."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    value = float(size)
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f}".rstrip("0").rstrip(".") + f" {units[0]}"
