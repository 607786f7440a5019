"""The commands with the hub's account in a real cluster."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from deploy.local.cluster import Cluster
from tests.service.hub import Hub
from tests.spawner.sites import NAMESPACE, Sites


async def run(
    cluster: Cluster, hub: Hub, *arguments: str, account: str = "hub"
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    config = hub.directory / "jupyterhub_config.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from interlinkspawner.cli import main; main()"),
        *(arguments[0], f"--config={config}", *arguments[1:]),
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig(account, NAMESPACE))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def test_inventory(cluster: Cluster, hub: Hub, sites: Sites) -> None:
    code, out, err = await run(cluster, hub, "inventory")
    head, *rows = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split()[:8] == [
        "NODE",
        "BACKEND",
        "SITE",
        "READY",
        "MODEL",
        "TOTAL",
        "USED",
        "FREE",
    ]
    fpga = next(row for row in rows if row.startswith("hpc"))
    assert fpga.split()[:8] == ["hpc", "Slurm", "cnaf", "yes", "u55c", "2", "1", "1"]


async def test_plan(cluster: Cluster, hub: Hub, sites: Sites) -> None:
    options = '--options={"accelerator": "xilinx.com/fpga/u55c", "walltime": "30m"}'
    code, out, err = await run(cluster, hub, "plan", options, "--user=ada")
    assert code == 0, err
    pod = json.loads(out)
    assert pod["metadata"]["name"] == "jupyter-ada"
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "hpc"}
    assert pod["spec"]["activeDeadlineSeconds"] == 1800
    assert not await sites.objects("pods")


async def test_plan_refused(cluster: Cluster, hub: Hub, sites: Sites) -> None:
    options = '--options={"image": "other:1"}'
    code, out, err = await run(cluster, hub, "plan", options)
    assert (code, out) == (1, "")
    assert "image: 'other:1' is not an image of this hub." in err


async def test_doctor(cluster: Cluster, hub: Hub, sites: Sites) -> None:
    _, out, err = await run(cluster, hub, "doctor")
    assert "ok   The account may get, list, watch nodes in the cluster." in out, err
    assert "create, delete pods in namespace spawner." in out
    assert "ok   Virtual node hpc is ready." in out
    assert "BAD  Virtual node hpc lacks the taint" in out


async def test_doctor_with_an_account_of_few_rights(
    cluster: Cluster, hub: Hub, sites: Sites
) -> None:
    code, out, _ = await run(cluster, hub, "doctor", account="service")
    assert code == 1
    assert "BAD  The account may not" in out


async def test_no_cluster(hub: Hub, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "none"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from interlinkspawner.cli import main; main()"),
        "doctor",
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert err.decode().splitlines()[-1].startswith("Cannot reach a Kubernetes API")
