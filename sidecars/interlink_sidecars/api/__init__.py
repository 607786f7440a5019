"""The documents that cross a process boundary, and the names in them.

The bottom layer of the whole project: imported by the hub, the virtual kubelet
and the sidecar, and importing nothing but the standard library and pydantic.
It must not know how any of these documents is produced or acted upon.
"""
