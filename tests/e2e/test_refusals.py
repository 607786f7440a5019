"""Wrong options at each door: a sentence that names the field, and no pod."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from deploy.local.stack import Stack
from tests.e2e.hub import Hub, until

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

WRONG: list[tuple[str, Any]] = [
    ("image", "evil/image:latest"),
    ("image", "$(touch /tmp/x)"),
    ("accelerator", "xilinx.com/fpga/v80"),
    ("accelerator", "; rm -rf /"),
    ("backend", "nowhere"),
    ("backend", "slurm`id`"),
    ("count", "3"),
    ("count", "0"),
    ("count", "one"),
    ("cpus", "-1"),
    ("cpus", "1.5"),
    ("memory", "lots"),
    ("memory", "-4"),
    ("walltime", "-5"),
    ("walltime", "1000000"),
    ("walltime", "1h; sbatch"),
]
WRONG_TYPES: list[tuple[str, Any]] = [
    ("image", ["a"]),
    ("count", {"n": 1}),
    ("count", True),
    ("memory", [4]),
    ("walltime", 1.5),
    ("backend", None),
    ("partition", "main"),
]
RIGHT = {
    "accelerator": "xilinx.com/fpga/u55c",
    "count": "1",
    "backend": "slurm",
    "memory": "4",
}


class Browser:
    """Cookies and the XSRF token of somebody signed in, without JavaScript."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._cookies: dict[str, str] = {}

    async def request(self, path: str, form: dict[str, str] | None) -> HTTPResponse:
        """GET, or POST of a form with the XSRF token; redirects are not followed."""
        cookie = "; ".join(f"{key}={value}" for key, value in self._cookies.items())
        query = f"?{urlencode({'_xsrf': self._cookies.get('_xsrf', '')})}"
        response = await AsyncHTTPClient().fetch(
            HTTPRequest(
                f"{self._url}{path}{query if form is not None else ''}",
                method="GET" if form is None else "POST",
                body=None if form is None else urlencode(form),
                headers={"Cookie": cookie},
                follow_redirects=False,
                request_timeout=60,
            ),
            raise_error=False,
        )
        for header in response.headers.get_list("Set-Cookie"):
            for key, morsel in SimpleCookie(header).items():
                self._cookies[key] = morsel.value
        return response


@pytest.fixture
async def browser(stack: Stack) -> Browser:
    """Somebody who signed in as ``eve``."""
    signed_in = Browser(stack.url)
    await signed_in.request("/hub/login", None)
    form = {"username": "eve", "password": stack.password}
    assert (await signed_in.request("/hub/login", form)).code == 302
    return signed_in


@pytest.fixture(autouse=True)
async def no_pod_after(stack: Stack, hub: Hub) -> AsyncIterator[None]:
    """Whatever was asked for, no pod came of it."""
    await hub.add("eve")
    yield
    await hub.stopped("eve")
    assert not await stack.cluster.kubectl("get", "pods", "-n=jhub", "-oname")


def sentence_about(field: str, text: str) -> bool:
    """Whether a text names the field in a sentence, as ``Wrong count: …``."""
    return bool(re.search(rf"\b{field}\b.{{10,}}", text, re.IGNORECASE))


@pytest.mark.parametrize(("field", "value"), WRONG)
async def test_a_form_post(field: str, value: str, browser: Browser) -> None:
    response = await browser.request("/hub/spawn", {**RIGHT, field: value})
    body = response.body.decode()
    assert response.code in (200, 400), response.headers
    alert = re.search(r"<p[^>]*spawn-error-msg[^>]*>(.*?)</p>", body, re.DOTALL)
    assert alert, body
    assert sentence_about(field, alert[1]), alert[1]


@pytest.mark.parametrize(("field", "value"), [*WRONG, *WRONG_TYPES])
async def test_a_rest_post(field: str, value: Any, hub: Hub) -> None:
    code, answer = await hub.start("eve", **{**RIGHT, field: value})
    if code == 202:  # the start went on without us, and says so in its progress

        async def told() -> str:
            _, events = await hub.request("GET", "/hub/api/users/eve/server/progress")
            return str(events) if "failed" in str(events) else ""

        answer = await until(told, "a failed progress event", 30)
    else:
        assert code == 400, (code, answer)
    assert sentence_about(field, str(answer)), answer


@pytest.mark.parametrize(("field", "value"), WRONG)
async def test_a_query(field: str, value: str, browser: Browser) -> None:
    query = urlencode({**RIGHT, field: value})
    response = await browser.request(f"/hub/spawn?{query}", None)
    assert response.code in (200, 400), response.headers
    assert sentence_about(field, response.body.decode())
