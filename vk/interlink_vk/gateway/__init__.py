"""The cluster's end of the tunnels: one port per session, one listener for carriers.

``gateway`` is what the virtual kubelet uses; it alone knows pods. ``carriers`` lets
agents in, ``sessions`` binds ports, ``ports`` and ``keys`` decide which.
"""

from .gateway import Gateway

__all__ = ["Gateway"]
