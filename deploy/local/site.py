"""The computing site's side of this machine: the ordinary account that owns the jobs.

Owns that account and nothing else. Sidecars and jobs never run as root, even where
the demo or the tests are started by root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path

from .bootstrap import SetupError

ACCOUNT = "interlink-demo"
HOME = Path("/var/lib") / ACCOUNT


def account() -> pwd.struct_passwd:
    """The site's account: for root a dedicated one, made if needed, else the caller's.

    Raises SetupError when root cannot make it.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    command = ["useradd", "--system", "--user-group", "--create-home"]
    command += ["--home-dir", str(HOME), "--shell", "/bin/bash", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise SetupError(
            f"The account {ACCOUNT}, as which jobs run, cannot be made: {said.strip()} "
            "Make it yourself, or start this as an ordinary user."
        ) from error
    return pwd.getpwnam(ACCOUNT)
