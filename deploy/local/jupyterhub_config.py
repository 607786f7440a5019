"""The demo's JupyterHub, written as an administrator would; see also z2jh-values.yaml.

What differs from one start to the next (ports, tokens, directories) is in the JSON
file that INTERLINKSPAWNER_HUB names, which only its owner can read.
"""

import json
import os
from pathlib import Path

import interlinkspawner

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - traitlets puts it here
here = json.loads(Path(os.environ["INTERLINKSPAWNER_HUB"]).read_text())

# --- who may come in -------------------------------------------------------------

c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = here["password"]
c.Authenticator.allow_all = True

# --- the hub and its proxy, a process of its own -----------------------------------

c.JupyterHub.bind_url = here["public_url"]
c.JupyterHub.hub_bind_url = here["hub_url"]
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = here["proxy_api_url"]
c.ConfigurableHTTPProxy.auth_token = here["proxy_token"]
c.JupyterHub.db_url = f"sqlite:///{here['directory']}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{here['directory']}/cookie_secret"
# Servers are jobs elsewhere: they go on while the hub restarts.
c.JupyterHub.cleanup_servers = False

# --- servers at remote sites ---------------------------------------------------------

c.JupyterHub.spawner_class = "interlink"
c.JupyterHub.extra_handlers.extend(interlinkspawner.extra_handlers)
c.JupyterHub.allow_named_servers = True
# A queued job is a spawn that waits: no limit of the hub's may count it.
c.JupyterHub.concurrent_spawn_limit = 0
c.InterLinkSpawner.namespace = here["namespace"]
c.InterLinkSpawner.images = here["images"]
c.InterLinkSpawner.start_timeout = 120
c.InterLinkSpawner.default_url = "/lab"

# --- the service behind the job panel ------------------------------------------------

READ = "custom:interlink:read"
SERVICE = "access:services!service=interlink"
c.JupyterHub.custom_scopes = {
    READ: {"description": "See the state and the logs of offloaded servers"}
}
c.JupyterHub.extra_user_scopes = {SERVICE, f"{READ}!user"}
c.InterLinkSpawner.oauth_client_allowed_scopes = [SERVICE, f"{READ}!user"]
c.JupyterHub.services = [
    {
        "name": "interlink",
        "url": here["service_url"],
        "api_token": here["service_token"],
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": [f"{READ}!user"],
    },
    {"name": "operator", "api_token": here["operator_token"]},
]
c.JupyterHub.load_roles = [
    {
        "name": "operator",  # for the one who runs the demo, and for the tests
        "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"],
        "services": ["operator"],
    }
]
