"""What a site has, as documents and as a sentence. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .api.inventory import Accelerator
from .api.messages import PingAccelerator
from .job import JobSpec


def ping_accelerators(offers: Sequence[Accelerator]) -> list[PingAccelerator]:
    """One entry for each model.

    ``available`` is the total of the whole resource type, because a stock virtual
    kubelet knows no models and keeps only the last entry of a type.
    """
    totals: Counter[str] = Counter()
    for offer in offers:
        totals[offer.resource_type] += offer.total
    return [
        PingAccelerator(
            resource_type=offer.resource_type,
            available=str(totals[offer.resource_type]),
            model=offer.model,
            total=offer.total,
            used=offer.used,
        )
        for offer in offers
    ]


def waiting_for(spec: JobSpec, offers: Sequence[PingAccelerator]) -> str:
    """Why a job waits for resources: the scarce model where that is known."""
    for wanted in spec.accelerators:
        for offer in offers:
            if offer.resource_type != wanted.resource_type:
                continue
            if wanted.model not in {"", offer.model} or offer.total is None:
                continue
            free = max(0, offer.total - (offer.used or 0))
            if free < wanted.count:
                name = (wanted.model or wanted.resource_type).upper()
                return (
                    f"Waiting for resources: {wanted.count} x {name} asked,"
                    f" {free} of {offer.total} free."
                )
    return "Waiting for resources: what the job asks for is in use by other jobs."
