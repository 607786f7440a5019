"""What a backend must do, as tests that it inherits.

A third party proves a backend by a class that extends :class:`BackendContract` and a
pytest fixture ``sidecar`` that yields a running :class:`SidecarProcess`. Needs pytest
with pytest-asyncio in auto mode, and imports neither.
"""

from .contract import BackendContract, refused
from .pods import FPGA, bundle, exit_code, make_pod
from .process import SidecarProcess

__all__ = [
    "FPGA",
    "BackendContract",
    "SidecarProcess",
    "bundle",
    "exit_code",
    "make_pod",
    "refused",
]
