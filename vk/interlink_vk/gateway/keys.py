"""The gateway's key file: the one secret from which every session's key is derived.

One base64url key a line. The first makes new tokens; a second is accepted while keys
are rotated. The file is a Kubernetes Secret, or is created where there is none.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from interlink_sidecars.ilt.credential import b64url, b64url_decode

KEY_SIZE = 32
_MAX_KEYS = 2


def load_keys(path: Path) -> tuple[bytes, ...]:
    """The accepted keys, the current one first.

    Raises:
        OSError: the file can neither be read nor created.
        ValueError: it holds something else than one or two keys.
    """
    try:
        lines = path.read_text("ascii").split()
    except FileNotFoundError:
        return (_create(path),)
    keys = tuple(map(b64url_decode, lines))
    if not 1 <= len(keys) <= _MAX_KEYS or any(len(key) != KEY_SIZE for key in keys):
        raise ValueError(
            f"{path} must hold one or two lines of {KEY_SIZE} bytes as base64url."
        )
    return keys


def _create(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_SIZE)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(
        os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
    ) as f:
        f.write(b64url(key) + "\n")
    return key
