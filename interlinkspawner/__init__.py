"""A JupyterHub spawner for notebooks that run in batch jobs at remote sites.

In ``jupyterhub_config.py``::

    import interlinkspawner

    c.JupyterHub.spawner_class = "interlink"
    c.JupyterHub.extra_handlers.extend(interlinkspawner.extra_handlers)
"""

from .handlers import extra_handlers
from .spawner import InterLinkSpawner

__version__ = "0.1.0"
__all__ = ["InterLinkSpawner", "__version__", "extra_handlers"]
