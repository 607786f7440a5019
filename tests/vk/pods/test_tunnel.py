"""When a pod's server counts as answering."""

from __future__ import annotations

from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_vk.pods.tunnel import Tunnel, server_path


class TestGateway:
    """A gateway whose carrier and server are what the test says."""

    __test__ = False

    def __init__(self) -> None:
        self.carrier = False
        self.serving = False
        self.asked: list[str] = []

    def session_document(self, pod: Pod) -> JSON:
        return {"sid": pod.uid}

    async def open(self, pod: Pod) -> str:
        return "http://127.0.0.1:1"

    async def close(self, uid: str) -> None:
        self.carrier = False

    def connected(self, uid: str) -> bool:
        return self.carrier

    async def answers(self, uid: str, path: str) -> bool:
        self.asked.append(path)
        return self.serving


def pod(*, ready: bool) -> Pod:
    prefix = {"name": "JUPYTERHUB_SERVICE_PREFIX", "value": "/user/alice/"}
    return Pod.model_validate(
        {
            "metadata": {"uid": "u"},
            "spec": {"containers": [{"name": "notebook", "env": [prefix]}]},
            "status": {"containerStatuses": [{"name": "notebook", "ready": ready}]},
        }
    )


async def test_answers_only_when_the_server_itself_has() -> None:
    gateway = TestGateway()
    tunnel = Tunnel(gateway, "")
    assert not await tunnel.answering(pod(ready=False))
    gateway.carrier = True
    assert not await tunnel.answering(pod(ready=False))
    gateway.serving = True
    assert await tunnel.answering(pod(ready=False))
    assert gateway.asked == ["/user/alice/api"] * 2


async def test_a_short_break_does_not_count_and_a_long_one_does() -> None:
    now = 0.0
    gateway = TestGateway()
    tunnel = Tunnel(gateway, "", clock=lambda: now)
    assert await tunnel.answering(pod(ready=True))
    now = 9.0
    assert await tunnel.answering(pod(ready=True))
    gateway.carrier = True
    assert await tunnel.answering(pod(ready=True))
    gateway.carrier, now = False, 100.0
    assert await tunnel.answering(pod(ready=True))
    now = 110.0
    assert not await tunnel.answering(pod(ready=True))


def test_a_pod_without_prefix_has_its_server_at_the_root() -> None:
    bare = Pod.model_validate({"spec": {"containers": [{"name": "c"}]}})
    assert server_path(bare) == "/api"
