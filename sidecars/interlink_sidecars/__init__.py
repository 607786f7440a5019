"""Runs pods as batch jobs: everything a site installs on its edge node."""
