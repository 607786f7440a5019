"""The HTTPS server that the API server calls for ``kubectl logs``.

Owns routes, who may call and how a stream is passed on. Only the API server's own
client certificate gets in: the log of a job may hold anything.

Source of the routes: ``k8s.io/kubernetes/pkg/kubelet/server``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from traitlets import Integer, List, Unicode, default
from traitlets.config import Configurable
from typing_extensions import override

from interlink_sidecars.api.errors import ApiError, InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.names import JOB_ID
from interlink_sidecars.client import SidecarClient
from interlink_vk.config import naming
from interlink_vk.pods.informer import PodInformer

from .logs import log_request, read_log
from .tls import server_context

log = logging.getLogger(__name__)

UNSUPPORTED: Final = (
    "This pod runs as a job at a remote site: there are logs, but no exec, attach or"
    " port-forward.\n"
)


class KubeletServer(Configurable):
    """Serves ``/containerLogs``, ``/pods`` and ``/healthz`` of one virtual node."""

    listen = Unicode(
        "127.0.0.1", help="Address to listen on; the API server must reach it."
    ).tag(config=True)
    address = Unicode(
        help="""Address of the node, at which the API server reaches this kubelet.

        Defaults to ``$POD_IP``, else to the one that is listened on."""
    ).tag(config=True)
    port = Integer(10250, help="TCP port; 0 takes a free one.").tag(config=True)
    cert_file = Unicode(
        help="PEM file of the serving certificate; self-signed where empty."
    ).tag(config=True)
    key_file = Unicode(help="PEM file of its key, if not in `cert_file`.").tag(
        config=True
    )
    client_ca_file = Unicode(
        help="""PEM file of the authority of the API server's client certificate.

        Without it nobody reads logs. It is often the cluster's own authority (in a pod
        /var/run/secrets/kubernetes.io/serviceaccount/ca.crt), which signs certificates
        of users, too: `client_names` tells them apart."""
    ).tag(config=True)
    client_names = List(
        Unicode(),
        ["kube-apiserver-kubelet-client"],
        help="Common names of client certificates that may call; kubeadm's by default.",
    ).tag(config=True)

    @default("address")
    def _address(self) -> str:
        return os.environ.get("POD_IP") or self.listen

    def start(
        self, node_name: str, informer: PodInformer, sidecar: SidecarClient
    ) -> int:
        """Listen; the answer is the port.

        Raises:
            ConfigError: the port is taken, or a certificate cannot be read.
        """
        routes: list[Any] = [
            ("/healthz", HealthHandler),
            ("/pods", PodsHandler),
            ("/containerLogs/([^/]+)/([^/]+)/([^/]+)", LogsHandler),
            ("/(?:exec|attach|portForward|run)/.*", UnsupportedHandler),
        ]
        application = Application(
            routes,
            informer=informer,
            sidecar=sidecar,
            client_names=frozenset(self.client_names),
            log_function=_log_request,
        )
        files = f"{self.cert_file}, {self.key_file}, {self.client_ca_file}"
        with naming("KubeletServer.cert_file, key_file, client_ca_file", files):
            context = server_context(
                cert_file=self.cert_file,
                key_file=self.key_file,
                client_ca_file=self.client_ca_file,
                node_name=node_name,
                address=self.address,
            )
        with naming("KubeletServer.port", f"{self.listen}:{self.port}"):
            sockets = bind_sockets(self.port, self.listen)
        self._server = HTTPServer(application, ssl_options=context)
        self._server.add_sockets(sockets)
        port: int = sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening and end every stream."""
        self._server.stop()
        await self._server.close_all_connections()


def _log_request(handler: RequestHandler) -> None:
    log.debug("%d %s", handler.get_status(), handler.request.path)


class HealthHandler(RequestHandler):
    """For probes, which have no certificate."""

    @override
    def get(self) -> None:
        """Say that the process serves."""
        self.finish("ok")


class AuthenticatedHandler(RequestHandler):
    """Refuses whoever is not the API server; errors are sentences."""

    @override
    def prepare(self) -> None:
        certificate = self.request.get_ssl_certificate()
        if not isinstance(certificate, dict) or not certificate:
            self._refuse(401, "Show the client certificate of the API server.")
        elif not _common_names(certificate) & self.settings["client_names"]:
            self._refuse(403, "Only the API server may call this kubelet.")

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(message + "\n")


class PodsHandler(AuthenticatedHandler):
    """The pods of the node, as every kubelet lists them."""

    @override
    def get(self) -> None:
        """Answer a core/v1 PodList."""
        informer: PodInformer = self.settings["informer"]
        self.finish({"kind": "PodList", "apiVersion": "v1", "items": informer.pods()})


class UnsupportedHandler(AuthenticatedHandler):
    """What a batch job cannot do."""

    @override
    def get(self) -> None:
        """Say so."""
        self.set_status(501)
        self.finish(UNSUPPORTED)

    post = get


class LogsHandler(AuthenticatedHandler):
    """Streams a container's log for as long as both sides want it."""

    _streaming: asyncio.Task[None] | None = None

    @override
    async def get(self, namespace: str, pod_name: str, container: str) -> None:
        """Pass on the log, each piece as soon as it is there."""
        try:
            self._streaming = asyncio.ensure_future(
                self._stream(namespace, pod_name, container)
            )
            await self._streaming
        except StreamClosedError:
            return
        except asyncio.CancelledError:
            if not self._streaming or not self._streaming.cancelled():
                raise
        except ApiError as error:
            if self._headers_written:
                log.warning("pod=%s/%s log: %s", namespace, pod_name, error.message)
                return
            # the API server drops the sentence of a 503, and passes that of a 500 on
            self._refuse(500 if error.status > 500 else error.status, error.message)

    @override
    def on_connection_close(self) -> None:
        if self._streaming is not None:
            self._streaming.cancel()

    async def _stream(self, namespace: str, pod_name: str, container: str) -> None:
        query = {key: self.get_query_argument(key) for key in self.request.arguments}
        request = log_request(self._pod(namespace, pod_name), container, query)
        chunks = read_log(self.settings["sidecar"], request, _limit(query))
        try:
            async for chunk in chunks:
                self.set_header("Content-Type", "text/plain")
                self.write(chunk)
                await self.flush()
        finally:
            await chunks.aclose()

    def _pod(self, namespace: str, pod_name: str) -> JSON:
        informer: PodInformer = self.settings["informer"]
        pod = informer.named(namespace, pod_name)
        if pod is None:
            raise ApiError(
                f"This node has no pod {namespace}/{pod_name}.",
                reason="NotFound",
                status=404,
            )
        if JOB_ID not in (pod["metadata"].get("annotations") or {}):
            raise ApiError(
                f"Pod {namespace}/{pod_name} has no log yet: its job was not submitted."
                " Its status says why.",
                reason="NotSubmitted",
                status=400,
            )
        return pod


def _limit(query: dict[str, str]) -> int:
    try:
        return max(0, int(query.get("limitBytes", "0")))
    except ValueError:
        raise InvalidRequestError("limitBytes must be a whole number.") from None


def _common_names(certificate: dict[str, Any]) -> set[str]:
    """The subject's common names in what `ssl` makes of a certificate."""
    return {
        value
        for parts in certificate.get("subject", ())
        for key, value in parts
        if key == "commonName"
    }
