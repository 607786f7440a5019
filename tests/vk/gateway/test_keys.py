"""The key file: made once, private, and with room for one rotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlink_sidecars.ilt.credential import b64url
from interlink_vk.gateway.keys import load_keys

NEW, OLD = b"n" * 32, b"o" * 32


def test_a_missing_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.key"
    (key,) = load_keys(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keys(path) == (key,)


def test_two_keys_are_accepted_the_new_one_first(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    path.write_text(f"{b64url(NEW)}\n{b64url(OLD)}\n")
    assert load_keys(path) == (NEW, OLD)


@pytest.mark.parametrize(
    "text", ["", "short\n", f"{b64url(NEW)}\n" * 3, b64url(NEW) + "="]
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.key"
    path.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        load_keys(path)
