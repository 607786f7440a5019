"""Every annotation, label, taint, finalizer and environment key, in one place.

Keys of interLink keep their upstream names so that its manifests, plugins and
nodes work here unchanged; keys of ours stand under ``interlinkspawner/``.
Values are documented beside each key; nothing here has behaviour.
"""

from __future__ import annotations

from typing import Final

# --- nodes: ours -----------------------------------------------------------------

INVENTORY: Final = "interlinkspawner/inventory"
"""Node annotation: JSON of :class:`~interlink_sidecars.api.inventory.Inventory`."""

BACKEND: Final = "interlinkspawner/backend"
"""Node label and pod annotation: what the site drives, e.g. ``slurm``."""

SITE: Final = "interlinkspawner/site"
"""Node label and pod annotation: short name of the computing site, for people."""

MODEL_LABEL_PREFIX: Final = "model.interlinkspawner/"
"""Node label ``model.interlinkspawner/<model>`` = resource type with ``/`` as ``_``."""

NODE_TAINTS: Final = "interlinkspawner/taints"
"""Node annotation: JSON of the taints that the virtual kubelet set, to remove only its
own."""

NODE_TUNNEL: Final = "interlinkspawner/tunnel"
"""Node label: ``ilt`` where our virtual kubelet serves a tunnel, else absent."""

# --- pods: ours ------------------------------------------------------------------

ACCELERATORS: Final = "interlinkspawner/accelerators"
"""Pod annotation: JSON ``[{"resource_type", "model" (lower case), "count"}]``."""

TUNNEL: Final = "interlinkspawner/tunnel"
"""Pod annotation: ``ilt`` asks the virtual kubelet to inject the tunnel agent."""

TUNNEL_URL: Final = "interlinkspawner/tunnel-url"
"""Pod annotation, set by the virtual kubelet: ``http://host:port`` of the session."""

FINALIZER: Final = "interlinkspawner/job"
"""Pod finalizer: set before a job is submitted, removed once its end is certain."""

JOB_ID: Final = "interlinkspawner/job-id"
"""Pod annotation: the scheduler's own job id."""

JOB_STATE: Final = "interlinkspawner/job-state"
"""Pod annotation: a :data:`~interlink_sidecars.api.messages.JobState` word."""

JOB_QUEUE: Final = "interlinkspawner/job-queue"
"""Pod annotation: JSON of :class:`~interlink_sidecars.api.messages.Queue`."""

JOB_NODE: Final = "interlinkspawner/job-node"
"""Pod annotation: the compute node that the job runs on, as the scheduler names it."""

DEADLINE: Final = "interlinkspawner/deadline"
"""Pod annotation: RFC 3339 time at which the scheduler will end the job."""

# --- KubeSpawner's own keys, read by the hub service and the sidecar ---------------

HUB_USERNAME: Final = "hub.jupyter.org/username"
HUB_SERVERNAME: Final = "hub.jupyter.org/servername"

# --- interLink -------------------------------------------------------------------

VIRTUAL_NODE_LABEL: Final = "virtual-node.interlink/type"
VIRTUAL_NODE_VALUE: Final = "virtual-kubelet"

TAINT: Final = "virtual-node.interlink/no-schedule"
"""Taint (value ``true``, effect ``NoSchedule``) of every virtual node."""

MODEL_TAINTS: Final = {
    "nvidia.com/gpu": "accelerator-GPU",
    "amd.com/gpu": "accelerator-GPU",
    "intel.com/gpu": "accelerator-GPU",
    "xilinx.com/fpga": "accelerator-FPGA",
    "intel.com/fpga": "accelerator-FPGA",
}
"""Toleration key by resource type, as in ``accelerator-FPGA=U55C:NoSchedule``."""

UPSTREAM_MODEL_LABELS: Final = {
    "nvidia.com/gpu": "nvidia-gpu-type",
    "xilinx.com/fpga": "xilinx-fpga-type",
    "intel.com/fpga": "intel-fpga-type",
}
"""Node label by resource type; upstream writes one model per type."""

PING_RESPONSE: Final = "interlink.virtual-kubelet.io/ping-response"
"""Node annotation of a stock interLink node: the plugin's ping, verbatim."""

JOB_ID_UPSTREAM: Final = "JobID"
"""Pod annotation of a stock interLink: the job id."""

SLURM_FLAGS: Final = "slurm-job.vk.io/flags"
"""Pod annotation: space-separated ``sbatch`` options."""

SESSION_HEADER: Final = "InterLink-Http-Session"
"""HTTP header on every interLink call: an id to find the call in both logs."""
