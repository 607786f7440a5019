"""The virtual node: its document, its registration and its lease.

Must not know the pods that run on it.
"""
