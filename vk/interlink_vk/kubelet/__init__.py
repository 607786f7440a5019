"""The kubelet's HTTPS API, as far as a virtual node has one.

Must not know how pods become jobs.
"""
