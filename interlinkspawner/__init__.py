"""A JupyterHub spawner for notebooks that run in batch jobs at remote sites."""
