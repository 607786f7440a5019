"""An environment is made once, and again when what it is made of has changed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from deploy.local.environments import digest, made_once, sources


def test_made_once_for_each_stamp(tmp_path: Path) -> None:
    directory = tmp_path / "environment"
    made = []
    for stamp in ("first", "first", "second"):
        with made_once(directory, stamp) as needed:
            made.append(needed)
            if needed:
                assert not list(directory.iterdir())
                (directory / stamp).touch()
    assert made == [True, False, True]
    assert [path.name for path in directory.iterdir()] == ["second"]


def test_made_again_after_a_failure(tmp_path: Path) -> None:
    directory = tmp_path / "environment"
    with contextlib.suppress(ZeroDivisionError), made_once(directory, "stamp"):
        (directory / "half").touch()
        raise ZeroDivisionError
    with made_once(directory, "stamp") as needed:
        assert needed
        assert not list(directory.iterdir())


def test_sources_are_what_people_write(tmp_path: Path) -> None:
    for name in ("src/index.ts", "node_modules/x.js", ".yarn/x", "a/__pycache__/m.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sources(tmp_path) == [tmp_path / "src/index.ts"]


def test_the_digest_changes_with_contents_and_words(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("one")
    first = digest([file])
    assert digest([file]) == first
    assert digest([file], "word") != first
    file.write_text("two")
    assert digest([file]) != first
