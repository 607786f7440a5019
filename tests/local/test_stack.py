"""The whole installation starts, runs a pod as a job, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

from deploy.local import environments, leftovers
from deploy.local.processes import PortBusyError, ProcessError
from deploy.local.settings import IMAGE
from deploy.local.site import account
from deploy.local.slurm import PrivateSlurm, installed
from deploy.local.stack import Stack

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    if not installed():
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge")
    top = Path(tempfile.mkdtemp(prefix="stack-"))  # tmp_path is closed to other users
    top.chmod(0o755)
    made = environments.everything(environments.tools())
    whole = Stack(top, made, slurm=PrivateSlurm(top / "slurm"))
    try:
        await whole.start()
        yield whole
    finally:
        await whole.stop()
        shutil.rmtree(top)


def pod(node: str, script: str) -> str:
    """A plain pod for one virtual node, as a Kubernetes person writes it."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"plain-{node}", "namespace": "jhub"},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": node},
                "tolerations": [{"operator": "Exists"}],
                "restartPolicy": "Never",
                "containers": [container],
            },
        }
    )


async def test_every_part_serves(stack: Stack) -> None:
    nodes = await stack.cluster.kubectl("get", "nodes", "--output=name")
    assert nodes.split() == ["node/local", "node/slurm"]
    users = await AsyncHTTPClient().fetch(
        f"{stack.url}/hub/api/users",
        headers={"Authorization": f"Bearer {stack.operator_token}"},
    )
    assert users.code == 200
    form = await AsyncHTTPClient().fetch(f"{stack.url}/hub/login")
    assert b"password" in form.body


@pytest.mark.parametrize("node", ["local", "slurm"])
async def test_a_pod_runs_as_a_job_of_the_sites_account(
    stack: Stack, node: str
) -> None:
    kubectl = stack.cluster.kubectl
    script = "id -un; python3 -c 'import jupyterlab'; echo $SLURM_JOB_ID"
    await kubectl("create", "--filename=-", document=pod(node, script))
    done = ("--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    await kubectl("wait", *done, "--namespace=jhub", f"pod/plain-{node}")
    log = await kubectl("logs", "--namespace=jhub", f"plain-{node}")
    who, job = log.splitlines()
    assert who == account().pw_name
    assert job.isdigit() == (node == "slurm")
    await kubectl("delete", "--namespace=jhub", f"pod/plain-{node}")


async def test_a_crashed_daemon_is_started_again_alone(stack: Stack) -> None:
    daemon = stack.components["vk-local"]
    await daemon.kill()
    assert not daemon.running
    await daemon.start()
    assert all(each.running for each in stack.components.values())


async def test_a_taken_port_or_directory_is_named(stack: Stack) -> None:
    port = int(stack.url.rpartition(":")[2])
    made = environments.everything(environments.tools())
    with pytest.raises(PortBusyError, match=f"Port {port} on 127.0.0.1 is already"):
        Stack(stack.directory / "other", made, slurm=None, port=port)
    second = Stack(stack.directory, made, slurm=None)
    with pytest.raises(ProcessError, match=f"already runs in {stack.directory}"):
        await second.start()
    assert stack.components["hub"].running


async def test_stop_ends_jobs_and_everything_else(stack: Stack) -> None:
    for node in ("local", "slurm"):
        await stack.cluster.kubectl(
            "create", "--filename=-", document=pod(node, "sleep 600")
        )
        running = ("--for=jsonpath={.status.phase}=Running", "--timeout=60s")
        await stack.cluster.kubectl(
            "wait", *running, "--namespace=jhub", f"pod/plain-{node}"
        )
    async with asyncio.timeout(40):
        await stack.stop()
    assert leftovers.find(stack.directory) == []
    assert isinstance(stack.slurm, PrivateSlurm)
    ended = stack.slurm.completion_log.read_text().splitlines()
    assert "JobState=CANCELLED" in ended[-1]
