"""InterLinkSpawner against an API in memory, where the test plays the kubelet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

import kubernetes_asyncio
import pytest
from kubespawner import clients
from traitlets import TraitError
from traitlets.config import Config

from interlink_sidecars.api import names
from interlinkspawner import InterLinkSpawner, nodes
from interlinkspawner.errors import InvalidOptionsError, JobError
from tests.spawner.kube_api import KubeApi

NAMESPACE = "hub"
POD = "jupyter-ada"
FPGA = {"accelerator": "xilinx.com/fpga/u55c"}


def make_spawner(**settings: Any) -> InterLinkSpawner:
    config = Config({"InterLinkSpawner": {"namespace": NAMESPACE, **settings}})
    user = mock.Mock(id=1, url="/user/ada/", escaped_name="ada")
    user.name = "ada"
    user.settings = {"proxy": mock.AsyncMock()}
    spawner = InterLinkSpawner(config=config, user=user, _mock=True)
    spawner.server = mock.Mock(base_url="/user/ada/", url="http://h:1/user/ada/")
    spawner.api_token = "s3cr3t"
    spawner.oauth_client_id = "x"
    return spawner


@pytest.fixture
async def spawner(kube_api: KubeApi) -> AsyncIterator[InterLinkSpawner]:
    clients.load_config.cache_clear()
    spawner = make_spawner()
    yield spawner
    await InterLinkSpawner._stop_all_reflectors()
    await nodes.stop_all()
    clients._client_cache.clear()
    await spawner.api.api_client.close()
    kubernetes_asyncio.client.Configuration.set_default(None)


async def until(true: Callable[[], Any]) -> None:
    """Wait for what KubeSpawner's reflectors see, which wake nobody."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def kubelet(api: KubeApi, phase: str, ready: bool = False, **annotations: str) -> None:
    """Report the pod's state as our virtual kubelet does."""
    pod = json.loads(json.dumps(api.objects["pods", NAMESPACE, POD]))
    pod["metadata"]["annotations"].update(annotations)
    state: dict[str, Any] = {"running": {}} if phase == "Running" else {"waiting": {}}
    if phase == "Failed":
        state = {"terminated": {"exitCode": 9, "message": "The node has no Vitis."}}
    pod["spec"]["nodeName"] = "hpc"
    pod["status"] = {
        "phase": phase,
        "containerStatuses": [{"name": "notebook", "ready": ready, "state": state}],
    }
    api.put("pods", pod, NAMESPACE)


async def begin(api: KubeApi, spawner: InterLinkSpawner) -> asyncio.Future[str]:
    spawner.user_options = FPGA
    future = spawner.start()
    await until(lambda: ("pods", NAMESPACE, POD) in api.objects or future.done())
    if future.done():
        future.result()
    return future


RUNNING = {
    names.JOB_STATE: "running",
    names.JOB_ID: "7",
    names.TUNNEL_URL: "http://gateway:40001",
}


async def test_secret_before_pod_and_the_url_of_the_tunnel(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    created = [r[1:] for r in kube_api.requests if r[0] == "create"]
    assert created == [("secrets", "jupyter-ada-hub-token"), ("pods", POD)]
    pod = kube_api.objects["pods", NAMESPACE, POD]
    assert "s3cr3t" not in json.dumps(pod)
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "hpc"}
    assert pod["spec"]["containers"][0]["args"] == ["jupyterhub-singleuser"]
    secret = kube_api.objects["secrets", NAMESPACE, "jupyter-ada-hub-token"]
    assert secret["stringData"]["JUPYTERHUB_API_TOKEN"] == "s3cr3t"
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    assert await asyncio.wait_for(start, 10) == "http://gateway:40001"
    assert await spawner.poll() is None
    await spawner.stop()
    await spawner.run_post_stop_hook()
    assert ("secrets", NAMESPACE, "jupyter-ada-hub-token") not in kube_api.objects
    assert ("pods", NAMESPACE, POD) not in kube_api.objects
    assert await spawner.poll() == 1


async def test_leftovers_of_a_crashed_hub_are_replaced(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    old = {"metadata": {"name": "jupyter-ada-hub-token"}, "stringData": {"x": "old"}}
    kube_api.put("secrets", old, NAMESPACE)
    labels = {"component": "singleuser-server"}
    pod = {"metadata": {"name": POD, "labels": labels}, "status": {"phase": "Failed"}}
    uid = kube_api.put("pods", pod, NAMESPACE)["metadata"]["uid"]
    start = await begin(kube_api, spawner)
    await until(
        lambda: (
            kube_api.objects.get(("pods", NAMESPACE, POD), pod)["metadata"]["uid"]
            != uid
        )
    )
    secret = kube_api.objects["secrets", NAMESPACE, "jupyter-ada-hub-token"]
    assert secret["stringData"]["JUPYTERHUB_API_TOKEN"] == "s3cr3t"
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    assert await asyncio.wait_for(start, 10) == "http://gateway:40001"


async def test_refused_options_make_nothing(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    spawner.user_options = {"accelerator": "nvidia.com/gpu/a100", "count": 99}
    with pytest.raises(InvalidOptionsError) as refusal:
        await spawner.start()
    assert refusal.value.jupyterhub_message.startswith("count: no site can run this")
    assert refusal.value.status_code == 400
    assert not kube_api.requests


FORM = {field: [value] for field, value in FPGA.items()}


async def test_the_first_form_after_a_hub_restart_waits_for_the_nodes(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    assert await spawner.run_options_from_form(FORM) == FPGA
    assert await spawner.options_from_query(FORM) == FPGA


async def test_a_refused_form_is_kept_where_the_hub_shows_it(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    wrong = {"cpus": ["many"]}
    with pytest.raises(InvalidOptionsError, match="cpus"):
        await spawner.run_options_from_form(wrong)
    assert spawner.refused is None
    assert spawner.user.spawner.refused == {"cpus": "many"}
    with pytest.raises(InvalidOptionsError, match="cpus"):
        await spawner.options_from_query(wrong)
    assert spawner.refused == {"cpus": "many"}


async def test_a_form_that_is_refused_in_the_dark_says_so(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    kube_api.refuse = 403
    with pytest.raises(InvalidOptionsError, match="may not list the nodes"):
        await spawner.run_options_from_form(FORM)


async def test_a_slow_api_server_does_not_cost_the_job(
    kube_api: KubeApi, spawner: InterLinkSpawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = spawner.api.create_namespaced_pod
    attempts = 0

    async def slow(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        made = await create(*arguments)
        if attempts == 1:
            raise TimeoutError
        return made

    monkeypatch.setattr(spawner.api, "create_namespaced_pod", slow)
    start = await begin(kube_api, spawner)
    await until(lambda: attempts == 2)
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    assert await asyncio.wait_for(start, 10) == "http://gateway:40001"
    assert ("delete", "pods", POD) not in kube_api.requests


async def test_a_start_that_waited_for_a_site_is_stopped_at_once(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    held = {
        "metadata": {
            "name": POD,
            "labels": {"component": "singleuser-server"},
            "deletionTimestamp": "2026-03-01T12:00:00Z",
        },
        "status": {"phase": "Running"},
    }
    kube_api.put("pods", held, NAMESPACE)
    kube_api.hold = True
    spawner.start_timeout = 1
    spawner.user_options = FPGA
    with pytest.raises(JobError):
        await asyncio.wait_for(spawner.start(), 10)
    spawner.start_timeout = 100
    await asyncio.wait_for(spawner.stop(), 1)
    assert ("pods", NAMESPACE, POD) in kube_api.objects


async def test_without_a_right_to_list_nodes_the_refusal_says_so(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    kube_api.refuse = 403
    with pytest.raises(InvalidOptionsError, match="may not list the nodes"):
        await spawner.start()


async def test_a_job_that_fails_says_why(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    kubelet(kube_api, "Failed", **{names.JOB_ID: "7"})
    with pytest.raises(JobError) as failure:
        await asyncio.wait_for(start, 10)
    assert failure.value.jupyterhub_message == (
        "Slurm job 7 on cnaf ended before its server was ready: The node has no Vitis"
    )
    assert failure.value.status_code < 500


async def test_a_deleted_pod_ends_the_start(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    kubelet(kube_api, "Pending", **{names.JOB_STATE: "queued"})
    await until(lambda: spawner._pod() is not None)
    await asyncio.sleep(1.1)  # the start has seen its pod
    kube_api.remove("pods", POD, NAMESPACE)
    with pytest.raises(JobError, match="was cancelled"):
        await asyncio.wait_for(start, 10)


async def test_the_hubs_limit_covers_queue_and_start(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    spawner.start_timeout = 30
    spawner.queue_timeout = 1000
    start = await begin(kube_api, spawner)
    assert spawner.start_timeout >= 1030
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert spawner.start_timeout == 30


async def test_a_queue_that_is_too_long_is_the_jobs_failure(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    spawner.queue_timeout = 1
    start = await begin(kube_api, spawner)
    with pytest.raises(JobError, match="did not start within 1 s"):
        await asyncio.wait_for(start, 10)


async def test_cancel_while_pending_deletes_the_pod(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    await until(lambda: spawner._pod() is not None)
    start.cancel()
    assert await spawner.poll() is None
    await asyncio.wait_for(spawner.stop(), 10)
    assert ("pods", NAMESPACE, POD) not in kube_api.objects
    with pytest.raises(asyncio.CancelledError):
        await start


async def test_poll_never_raises(kube_api: KubeApi, spawner: InterLinkSpawner) -> None:
    kube_api.refuse = 500
    assert await spawner.poll() is None
    kube_api.refuse = 0
    assert await spawner.poll() == 1


async def test_poll_of_an_ended_job_deletes_its_pod(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    await asyncio.wait_for(start, 10)
    kubelet(kube_api, "Failed", **RUNNING)
    await until(lambda: (pod := spawner._pod()) and pod.phase == "Failed")
    assert await spawner.poll() == 9
    assert ("pods", NAMESPACE, POD) not in kube_api.objects


async def test_after_a_hub_restart_a_queued_job_is_waited_for(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)
    kubelet(kube_api, "Pending", **{names.JOB_STATE: "queued"})
    start.cancel()  # the hub dies
    restarted = make_spawner()
    assert await restarted.poll() is None
    url = asyncio.ensure_future(restarted.get_url())
    await asyncio.sleep(0)
    assert not url.done()
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    assert await asyncio.wait_for(url, 10) == "http://gateway:40001/user/ada/"
    restarted.user.settings["proxy"].add_route.assert_awaited_once_with(
        restarted.proxy_spec,
        "http://gateway:40001",
        {"user": "ada", "server_name": ""},
    )


async def test_after_a_hub_restart_a_lost_job_has_a_url_where_nobody_is(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    assert await spawner.get_url() == "http://127.0.0.1:1/user/ada/"
    assert spawner.http_timeout == 1


async def test_progress_is_told_to_every_listener(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    start = await begin(kube_api, spawner)

    async def listen() -> list[dict[str, Any]]:
        return [event async for event in spawner.progress()]

    listeners = [asyncio.ensure_future(listen()) for _ in range(2)]
    event = {
        "metadata": {"name": "e", "uid": "e1"},
        "involvedObject": {"kind": "Pod", "name": POD},
        "lastTimestamp": None,
        "eventTime": None,
        "message": "<b>Submitted</b>",
    }
    kube_api.put("events", event, NAMESPACE)
    queue = {"state": "queued", "reason": "Resources"}
    kubelet(
        kube_api,
        "Pending",
        **{names.JOB_ID: "7", names.JOB_QUEUE: json.dumps(queue)},
    )
    await until(lambda: spawner.events)
    await asyncio.sleep(1.1)  # one look of the listeners
    kubelet(kube_api, "Running", ready=True, **RUNNING)
    await asyncio.wait_for(start, 10)
    for lines in await asyncio.wait_for(asyncio.gather(*listeners), 10):
        messages = [line["message"] for line in lines]
        assert " [Normal] <b>Submitted</b>" in messages
        assert "Slurm job 7 on cnaf is waiting: Resources." in messages
        assert not any("html_message" in line for line in lines)


def answer(status: dict[str, Any], **annotations: str) -> dict[str, Any]:
    port = {"name": "notebook-port", "containerPort": 8888}
    containers = [
        {"name": "x"},
        {"name": "notebook", "ports": [port]},
    ]
    return {
        "metadata": {"name": POD, "annotations": annotations},
        "spec": {"containers": containers, "nodeName": "stock"},
        "status": status,
    }


READY = {"phase": "Running", "containerStatuses": [{"name": "notebook", "ready": True}]}


@pytest.mark.parametrize(
    ("pod", "running"),
    [
        (None, False),
        (answer({"phase": "Running"}), False),
        (answer({"phase": "Running", "containerStatuses": []}), False),
        (answer(READY), False),
        (answer({**READY, "podIP": ""}), False),
        (answer({**READY, "podIP": "10.0.0.7"}), True),
        (answer(READY, **{names.TUNNEL: "ilt"}), False),
        (answer(READY, **{names.TUNNEL: "ilt", names.TUNNEL_URL: "http://g:1"}), True),
    ],
)
async def test_is_pod_running(
    spawner: InterLinkSpawner, pod: dict[str, Any] | None, running: bool
) -> None:
    assert spawner.is_pod_running(pod) is running


async def test_pod_ip_mode_has_kubespawners_url(spawner: InterLinkSpawner) -> None:
    pod = answer({**READY, "podIP": "10.0.0.7"})
    assert spawner._get_pod_url(pod) == "http://10.0.0.7:8888"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "", None])
async def test_an_address_on_the_hub_itself_is_refused(
    spawner: InterLinkSpawner, address: str | None
) -> None:
    pod = answer({**READY, "podIP": address})
    with pytest.raises(Exception, match="which cannot be a remote job"):
        spawner._get_pod_url(pod)


async def test_settings_are_checked(spawner: InterLinkSpawner) -> None:
    for wrong in (
        {"max_walltime": "soon"},
        {"max_walltime": ""},
        {"default_memory": "lots"},
        {"images": [{"nome": "lab:1"}]},
    ):
        with pytest.raises(TraitError):
            make_spawner(**wrong)


async def test_no_default_is_over_its_maximum(spawner: InterLinkSpawner) -> None:
    policy = make_spawner(
        default_cpus=8,
        max_cpus=4,
        default_memory="8Gi",
        max_memory="4Gi",
        default_walltime="3d",
        max_walltime="1d",
    ).policy()
    assert policy.default_cpus == 4
    assert policy.default_memory == 4 * 2**30
    assert policy.default_walltime == 1440


async def test_settings_of_kubespawner_are_not_changed(
    kube_api: KubeApi, spawner: InterLinkSpawner
) -> None:
    tolerations = [{"key": "mine"}]
    volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "x"}}]
    ours = make_spawner(tolerations=tolerations, volumes=volumes)
    await ours.load_user_options()
    await ours.get_pod_manifest()
    assert tolerations == [{"key": "mine"}]
    assert volumes == [{"name": "home", "persistentVolumeClaim": {"claimName": "x"}}]
