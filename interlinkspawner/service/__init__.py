"""The hub service ``/services/interlink/``: state and logs of offloaded servers.

A process of its own beside JupyterHub, so that it answers when the notebook server,
its tunnel or its job is gone. It reads Kubernetes and asks the hub who is calling;
it must not know the spawner, and it changes nothing.

``app`` builds the parts; ``handlers`` and ``authorization`` face the browser,
``pods`` faces Kubernetes, ``jobs`` and ``logs`` stand between them.
"""
