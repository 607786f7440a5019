"""The pods of the virtual node: from a bound pod to a job, and back to its status.

Must not know the Node object, nor how a site runs a job.
"""
