"""What the chart values hold, and what they must not hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub.app import JupyterHub
from oauthenticator.generic import GenericOAuthenticator
from traitlets.config import Config, Configurable

from interlink_sidecars.api import names
from interlink_vk.gateway.gateway import Gateway
from interlinkspawner import InterLinkSpawner
from tests.deploy.chart import DEPLOY, values


@pytest.mark.parametrize(
    "user",
    [
        {"groups": ["users/jhub", "admins/jhub"]},
        {"wlcg.groups": ["/users/jhub", "/admins/jhub"]},
    ],
)
def test_iam_groups_of_either_token_profile(user: dict[str, Any]) -> None:
    c = Config()
    exec(values("z2jh-iam.yaml")["hub"]["extraConfig"]["iam-groups"], {"c": c})
    groups = c.GenericOAuthenticator.auth_state_groups_key({"oauth_user": user})
    assert groups == {"users/jhub", "admins/jhub"}


@pytest.mark.parametrize(
    "configured", [JupyterHub, InterLinkSpawner, GenericOAuthenticator]
)
def test_every_setting_exists(configured: type[Configurable]) -> None:
    config = values("z2jh-values.yaml", "z2jh-iam.yaml")["hub"]["config"]
    settings = config[configured.__name__]
    assert set(settings) <= set(configured.class_trait_names(config=True))


def test_no_other_class_is_configured() -> None:
    config = values("z2jh-values.yaml", "z2jh-iam.yaml")["hub"]["config"]
    assert set(config) == {"JupyterHub", "InterLinkSpawner", "GenericOAuthenticator"}


def test_network_policies_open_the_ports_of_the_tunnels() -> None:
    chart = values("z2jh-values.yaml")
    hub = chart["hub"]["networkPolicy"]["egress"][0]
    proxy = chart["proxy"]["chp"]["networkPolicy"]["egress"][0]
    first, last = Gateway.class_traits()["ports"].default()
    assert hub == proxy
    assert hub["ports"] == [{"port": first, "endPort": last}]


def tolerations(document: Any) -> Iterator[Any]:
    """Every toleration that the values set anywhere."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key.lower().endswith("tolerations"):
                yield from value
            else:
                yield from tolerations(value)
    elif isinstance(document, list):
        for value in document:
            yield from tolerations(value)


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.glob("z2jh-*.yaml")), ids=lambda p: p.name
)
def test_no_toleration_reaches_the_image_pullers(path: Path) -> None:
    for toleration in tolerations(yaml.safe_load(path.read_text())):
        key = toleration.get("key")
        assert key not in {None, names.TAINT, *names.MODEL_TAINTS.values()}


def test_lint_sees_tolerations_where_the_chart_has_them() -> None:
    bad = {"singleuser": {"extraTolerations": [{"key": names.TAINT}]}}
    assert list(tolerations(bad)) == [{"key": names.TAINT}]
