"""JupyterLab panel of the job that the notebook runs in."""
