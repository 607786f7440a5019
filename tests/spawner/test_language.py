"""The catalogue, the choice of language, and numbers in words."""

from __future__ import annotations

import string

import pytest

from interlinkspawner import language


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_sentence_is_in_every_language_with_the_same_values() -> None:
    english, italian = (language._CATALOGUE[each] for each in language.LANGUAGES)
    assert list(english) == list(italian)
    for key, text in english.items():
        assert fields(text) == fields(italian[key]), key


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("it", "it"),
        ("it-IT,it;q=0.9,en;q=0.8", "it"),
        ("en-GB,en;q=0.9,it;q=0.8", "en"),
        ("fr-FR,fr;q=0.9,it;q=0.5,en;q=0.4", "it"),
        ("de", "en"),
        ("it;q=0", "en"),
        ("*;q=0.5, ;;;, it;q=banana", "en"),
    ],
)
def test_negotiate(header: str, expected: str) -> None:
    assert language.negotiate(header) == expected


def test_a_message_may_hold_a_message() -> None:
    message = language.Message(
        "refused", field="count", why=language.Message("no_image")
    )
    assert message.say("en") == "count: does not have this image."
    assert message.say("it") == "count: non ha questa immagine."


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (45, "45 s"), (60, "1 min"), (3900, "1 h 5 min"), (90000, "1 d 1 h")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert language.duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(512, "512 B"), (2**30, "1 GiB"), (1536 * 2**20, "1.5 GiB")],
)
def test_memory(size: int, expected: str) -> None:
    assert language.memory(size) == expected
