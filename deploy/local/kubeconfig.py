"""Kubeconfig documents: one cluster, one user, one context.

Pure: from addresses and credentials to the document. Source of the format:
``k8s.io/client-go/tools/clientcmd/api/v1``.
"""

from __future__ import annotations

import base64
import copy
from typing import Any

from .certificates import KeyPair

JSON = dict[str, Any]


def with_certificate(server: str, authority: bytes, client: KeyPair) -> JSON:
    """For a user who shows a client certificate; files are taken in, not named."""
    user = {
        "client-certificate-data": _text(client.certificate.read_bytes()),
        "client-key-data": _text(client.key.read_bytes()),
    }
    cluster = {"server": server, "certificate-authority-data": _text(authority)}
    return _document("local", cluster, user, "default")


def with_token(admin: JSON, token: str, namespace: str) -> JSON:
    """For a service account, at the cluster of a kubeconfig that has only this one."""
    cluster = admin["clusters"][0]
    return _document(
        cluster["name"], copy.deepcopy(cluster["cluster"]), {"token": token}, namespace
    )


def _document(name: str, cluster: JSON, user: JSON, namespace: str) -> JSON:
    context = {"cluster": name, "user": "user", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
