"""InterLinkSpawner: KubeSpawner for pods that become batch jobs at remote sites.

The overrides of KubeSpawner's methods, nothing else. What may start
stands in ``plan``, what the pod looks like in ``transform``, what people read
in ``form`` and ``progress``. Works with KubeSpawner 7.0 and 7.1.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, cast

from jupyterhub.utils import exponential_backoff, maybe_future, url_path_join
from traitlets import default

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod

from . import handlers, nodes, options, progress, transform
from .errors import (
    AddressError,
    InvalidOptionsError,
    JobError,
    StartError,
    do_not_count,
)
from .language import Language, Message, language_of
from .plan import Plan, plan
from .pods import PodSpawner, is_remote
from .settings import OffloadSettings
from .waiting import Wait

_LOOK_SECONDS = 1.0
_NOBODY = "http://127.0.0.1:1"  # an address where nothing answers


class InterLinkSpawner(OffloadSettings, PodSpawner):
    """Starts a user's server in a batch job, through an interLink virtual node."""

    @default("http_timeout")
    def _http_timeout_default(self) -> int:
        return 180  # the first byte may come from a compute node far away

    @default("cmd")
    def _cmd_default(self) -> list[str]:
        # an image's own command is unknown here, and the tunnel's agent needs one
        return ["jupyterhub-singleuser"]

    @property
    def node_watcher(self) -> nodes.NodeWatcher:
        """The process's watch on virtual nodes."""
        return nodes.shared(self.api)

    @property
    def language(self) -> Language:
        """Of the sentences of this start, as chosen by the form."""
        return language_of(self.user_options)

    # --- options: form, query, REST ------------------------------------------------

    _plan: Plan | None = None
    refused: JSON | None = None
    """A form that was refused, to be shown once more as it was filled in."""

    @default("options_form")
    def _options_form_default(self) -> Callable[..., Any]:
        return handlers.render_form

    @default("options_from_form")
    def _options_from_form_default(self) -> Callable[..., Awaitable[JSON]]:
        return self._options_from_post

    @default("apply_user_options")
    def _apply_user_options_default(self) -> Callable[..., None]:
        # load_user_options applies them; without a hook the hub logs that nobody does
        return lambda spawner, user_options: None

    async def _options_from_post(self, data: dict[str, list[str]]) -> JSON:
        # after a post the hub shows the default server's form, whichever was refused
        return await self._read_form(data, self.user.spawner)

    async def _read_form(
        self, data: dict[str, list[str]], shown: InterLinkSpawner
    ) -> JSON:
        """Form fields to ``user_options``; a refusal appears on the form of ``shown``.

        The hub awaits both of its callers.
        """
        table = await self.node_watcher.loaded()
        try:
            chosen = options.parse_form(data)
            plan(chosen, self.policy(), table.nodes)
        except options.OptionsError as error:
            shown.refused = {field: values[0] for field, values in data.items()}
            language = language_of(shown.refused)
            raise InvalidOptionsError(_why(error, table), language) from error
        return chosen.to_json()

    async def options_from_query(self, query_data: dict[str, list[str]]) -> JSON:
        """The query of ``/hub/spawn``, which starts a server without the form."""
        if set(query_data) <= {"_xsrf"}:  # the URL of a refused form, visited again
            raise InvalidOptionsError(Message("no_options"), "en")
        return await self._read_form(query_data, self)

    async def load_user_options(self) -> None:
        """Check the options, whoever set them, and apply them to this start.

        Raises:
            InvalidOptionsError: they are refused; nothing has been created.
        """
        table = await self.node_watcher.loaded()
        try:
            chosen = options.parse(self.user_options)
            self._plan = plan(chosen, self.policy(), table.nodes)
        except options.OptionsError as error:
            raise InvalidOptionsError(_why(error, table), self.language) from error
        asked = self._plan.request
        self.image = asked.image.name
        self.cpu_limit = self.cpu_guarantee = asked.cpus
        self.mem_limit = self.mem_guarantee = asked.memory
        self.storage_pvc_ensure = False  # no site could mount it

    # --- the pod -------------------------------------------------------------------

    _secret: Any = None

    async def get_pod_manifest(self) -> Any:
        """KubeSpawner's pod, offloaded: a V1Pod, as ``modify_pod_hook`` expects."""
        if self._plan is None:
            raise RuntimeError("get_pod_manifest() comes after load_user_options()")
        client = self.api.api_client
        stock = client.sanitize_for_serialization(await super().get_pod_manifest())
        self._secret = self._object(transform.secret(stock), "V1Secret")
        return self._object(transform.offload(stock, self._plan), "V1Pod")

    def _object(self, document: JSON, kind: str) -> Any:
        """A model object of the Kubernetes client."""
        response = SimpleNamespace(data=json.dumps(document))
        return self.api.api_client.deserialize(response, kind)

    async def _make_create_pod_request(self, pod: Any, request_timeout: int) -> bool:
        """Create the pod after the Secret that it refers to. May be called again.

        The server's pod of before goes first, which takes as long as its job needs to
        end. KubeSpawner makes Secrets after the pod, when a virtual kubelet has
        already read it. Ours cannot have the pod as owner, so it is deleted by name.
        """
        if self._creating:  # the last attempt took too long, but may have succeeded
            return bool(await self._make_create_resource_request("pod", pod))
        if self._pod() is not None:
            await self.stop(now=True)
        self._creating = True
        name = self._secret.metadata.name
        await exponential_backoff(
            partial(self._ensure_not_exists, "secret", name),
            f"Secret {name} of an earlier start could not be deleted",
            timeout=self.k8s_api_request_retry_timeout,
        )
        await exponential_backoff(
            partial(self._make_create_resource_request, "secret", self._secret),
            f"Secret {name} could not be created",
            timeout=self.k8s_api_request_retry_timeout,
        )
        return bool(await super()._make_create_pod_request(pod, request_timeout))

    async def run_post_stop_hook(self) -> Any:
        """Called by the hub after every stop, also of a pod that ended by itself."""
        name = transform.secret_name(self.pod_name)
        try:
            await self._ensure_not_exists("secret", name)
        except Exception:  # the next start replaces it, and doctor names it
            self.log.exception("Cannot delete Secret %s", name)
        return await maybe_future(super().run_post_stop_hook())

    def is_pod_running(self, pod: JSON | None) -> bool:
        """Whether the server answers. Through a tunnel a pod needs no address."""
        if not pod:
            return False
        seen = Pod.model_validate(pod)
        if progress.stage(seen) != "ready" or seen.metadata.deletion_timestamp:
            return False
        if names.TUNNEL in seen.metadata.annotations:
            return names.TUNNEL_URL in seen.metadata.annotations
        return bool(seen.status.get("podIP"))

    def _get_pod_url(self, pod: JSON) -> str:
        """The tunnel's URL, else KubeSpawner's.

        Raises:
            AddressError: the pod's address is this very host's, which is where
                interLink without a tunnel says that its pods are.
        """
        seen = Pod.model_validate(pod)
        if names.TUNNEL in seen.metadata.annotations and not self.get_pod_url:
            return seen.metadata.annotations[names.TUNNEL_URL].rstrip("/")
        elsewhere = self.get_pod_url or self.services_enabled or self.pod_connect_ip
        address = seen.status.get("podIP") or "nowhere"
        if not elsewhere and not is_remote(address):
            node = seen.spec.node_name
            message = Message("bad_address", pod=seen.key, address=address, node=node)
            raise AddressError(message, self.language)
        return str(super()._get_pod_url(pod))

    # --- start, stop, poll ---------------------------------------------------------

    start_timeout: int  # KubeSpawner's
    _start_limit: int | None = None
    _creating = False  # from here on a pod of this name is this start's
    _still_ending = False  # the start has waited in vain for what stop() waits for

    def start(self) -> Any:
        """Start within two budgets, see :attr:`queue_timeout`.

        The hub reads ``start_timeout`` after this call, as its limit for both.
        """
        self._creating = self._still_ending = False
        self._start_limit = self.start_timeout
        self.start_timeout += self.queue_timeout + 60
        return super().start()

    async def _start(self) -> str:
        """The server's URL, as soon as it answers.

        Raises:
            StartError: refused, failed, cancelled or too late; never the hub's fault.
        """
        try:
            return await self._start_or_fail()
        except StartError:
            do_not_count(self.handler)
            raise
        finally:
            self.start_timeout = self._start_limit or self.start_timeout

    async def _start_or_fail(self) -> str:
        """KubeSpawner's start, until it succeeds or cannot any more."""
        starting = asyncio.ensure_future(super()._start())
        watching = asyncio.ensure_future(self._watch_job())
        tasks = {starting, watching}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return str(await (starting if starting.done() else watching))
        except TimeoutError:
            pod = self._pod()
            if pod is None or not pod.metadata.deletion_timestamp:
                raise
            self._still_ending = True
            message = Message("still_ending", pod=pod.key)
            raise JobError(message, self.language) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_job(self) -> NoReturn:
        """Raise JobError once this start cannot succeed any more."""
        wait = self._wait()
        while True:
            if self._creating:
                await self._start_watching_pods()
                message = wait.verdict(self._pod(), time.monotonic())
                if message is not None:
                    raise JobError(message, self.language)
            await asyncio.sleep(_LOOK_SECONDS)

    def _wait(self) -> Wait:
        return Wait(
            begun=time.monotonic(),
            queue_limit=self.queue_timeout,
            start_limit=self._start_limit or self.start_timeout,
        )

    async def stop(self, now: bool = False) -> None:
        """Delete the pod and wait until its job has ended.

        After a start that gave up on just that, the pod is deleted already.

        Raises:
            TimeoutError: the site did not confirm that within ``start_timeout``.
        """
        if self._still_ending:
            self._still_ending = False
            return
        outer, self.start_timeout = (
            self.start_timeout,
            self._start_limit or self.start_timeout,
        )
        try:
            await super().stop(now)
        finally:
            self.start_timeout = outer

    async def poll(self) -> int | None:
        """None while the pod is there, else an exit code. Never raises.

        After an exception the hub would stop the server, and an outage of the API
        server says nothing about the job.
        """
        try:
            await self._start_watching_pods()
            pod = self._pod()
            if pod is None:
                return 1 if await self._is_gone() else None
            if progress.stage(pod) == "ended":
                return await self._reap(progress.exit_code(pod))
            if not pod.status.get("containerStatuses"):
                return None
            return cast("int | None", await super().poll())
        except Exception:
            self.log.exception("Cannot poll pod %s/%s", self.namespace, self.pod_name)
            return None

    async def _reap(self, exit_code: int) -> int:
        if self.delete_stopped_pods:
            try:
                await self.stop(now=True)
            except Exception:
                self.log.exception("Cannot delete ended pod %s", self.pod_name)
        return exit_code

    async def get_url(self) -> str:
        """The URL of a server that was starting or running when the hub restarted.

        Waits for a job that is still queued. Must not raise, which would end the
        hub's own start: when the job is gone, it answers with an address where
        nobody is, and the hub cleans up at once.
        """
        wait = self._wait()
        waited = False
        while True:
            try:
                await self._start_watching_pods()
                hopeless = wait.verdict(self._pod(), time.monotonic())
                if hopeless or await self._is_gone():
                    break
                document = self.pod_reflector.pods.get(self._key)
                if self.is_pod_running(document):
                    url = self._get_pod_url(document)
                    if waited:
                        await self._add_route(url)
                    return str(url_path_join(url, self.server.base_url))
            except StartError as error:
                self.log.error("%s", error.jupyterhub_message)  # noqa: TRY400
                break
            except Exception:
                self.log.exception("Cannot find the URL of %s yet", self.pod_name)
            waited = True
            await asyncio.sleep(_LOOK_SECONDS)
        self.http_timeout = 1
        return str(url_path_join(_NOBODY, self.server.base_url))

    async def _add_route(self, url: str) -> None:
        """Tell the proxy at once: the hub would after all servers have been checked."""
        data = {"user": self.user.name, "server_name": self.name}
        await self.user.settings["proxy"].add_route(self.proxy_spec, url, data)

    # --- progress ------------------------------------------------------------------

    async def progress(self) -> AsyncIterator[JSON]:
        """Lines for the pending page: Events, then the job's standing when it changes.

        Any number of pages may listen at once; each has its own position.
        """
        shown: set[str] = set()
        last = ""
        while True:
            over = self._start_future is not None and self._start_future.done()
            for event in self._new_events(shown):
                yield {"message": progress.event_line(event)}
            pod = self._pod()
            if pod is not None:
                line = progress.sentence(pod, self.language)
                if line != last:
                    last = line
                    yield {"progress": progress.percent(pod), "message": line}
            if over:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _new_events(self, shown: set[str]) -> list[JSON]:
        keys = [
            (
                event["metadata"]["uid"] + event["metadata"].get("resourceVersion", ""),
                event,
            )
            for event in self.events
        ]
        new = [event for key, event in keys if key not in shown]
        shown.update(key for key, _ in keys)
        return new


def _why(error: options.OptionsError, table: nodes.NodeTable) -> Message:
    """Why options are refused, or else why the hub knows of no node at all."""
    blind = table.problem and not table.nodes
    return Message(table.problem) if blind else error.message
