"""JupyterLab panel of the job that the notebook runs in.

The panel is static files that talk to the hub service; this package only tells
``jupyter-builder develop`` where they are. It must not import anything.
"""

from __future__ import annotations


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the built front end is, for JupyterLab's development installs."""
    return [{"src": "labextension", "dest": "jupyterlab-interlink"}]
