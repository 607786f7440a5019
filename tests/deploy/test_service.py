"""The manifest of the hub service, in a real cluster."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from deploy.local.cluster import Cluster
from tests.deploy.chart import DEPLOY, values

NAME = "interlinkspawner-service"


async def get(cluster: Cluster, namespace: str, *what: str) -> Any:
    answer = await cluster.kubectl("get", *what, "-n", namespace, "--output=json")
    return json.loads(answer)


async def test_service_is_deployed_with_the_account_of_its_rights(
    cluster: Cluster, namespace: str
) -> None:
    # as the file itself says
    manifest = re.sub(r"\bjhub\b", namespace, (DEPLOY / "service.yaml").read_text())
    await cluster.kubectl("apply", "--server-side", "--filename=-", document=manifest)
    service = await get(cluster, namespace, "service", NAME)
    selector = ",".join(f"{k}={v}" for k, v in service["spec"]["selector"].items())
    await cluster.kubectl(
        *("wait", "--for=create", "pod", "--selector", selector),
        *("--namespace", namespace, "--timeout=60s"),
    )
    (pod,) = (await get(cluster, namespace, "pods", "--selector", selector))["items"]
    assert pod["spec"]["serviceAccountName"] == NAME
    assert pod["metadata"]["labels"]["hub.jupyter.org/network-access-hub"] == "true"
    (port,) = service["spec"]["ports"]
    chart = values("z2jh-values.yaml")["hub"]["services"]["interlink"]
    assert chart["url"] == f"http://{NAME}:{port['port']}"


def test_service_and_hub_run_the_same_image() -> None:
    image = values("z2jh-values.yaml")["hub"]["image"]
    deployment = next(yaml.safe_load_all((DEPLOY / "service.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{image['name']}:{image['tag']}"
