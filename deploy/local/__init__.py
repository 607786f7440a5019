"""A whole installation on one machine: real control plane, real hub, real site.

For the demo and the tests. Never part of a distribution: nothing here is imported
by the packages that people install.
"""
