"""What zygotes and inits are told: the frames of `guest.zygote` and `guest.init`, filled. Pure."""

from typing import Any

from tidepool.engine.guest import frames
from tidepool.engine.spawner import birth, protocol
from tidepool.engine.spawner.books import Slot


def config(start: protocol.Start, request: protocol.Zygote, number: int) -> dict[str, Any]:
    """A zygote's first frame; only the first zygote of an engine has the fault."""
    return {
        "modules": request.modules,
        "pytest": request.pytest,
        "capabilities": start.capabilities,
        "landlock": start.landlock,
        "fault": start.fault if number == 1 else "",
    }


def guard(request: protocol.Zygote, filters_fd: int) -> bytes:
    """The filter that a zygote starts behind: where packages or an image bring code that nobody has read.

    Else none: a runtime for a further wall would not start behind it, and where one is asked for nothing is brought.
    """
    return frames.read_filters(filters_fd)[1] if request.seen_layers or request.image else b""


def fork(slot: Slot) -> dict[str, Any]:
    """Makes a zygote fork a sandbox; its descriptors travel beside it."""
    return {
        "op": "fork",
        "slot": slot.number,
        "slice": slot.slice,
        "ids": protocol.SLICE,
        "volumes": [volume.path for volume in slot.request.volumes],
    }


def go(request: protocol.Create, rlimits: dict[str, int]) -> dict[str, Any]:
    """Lets a new init go on, once it is in its control group."""
    return {
        "hostname": request.hostname,
        "shm_bytes": request.shm_bytes,
        "env": birth.ENVIRONMENT | request.env,
        "open_root": request.open_root,
        "rlimits": rlimits,
        "isolation": request.isolation,
        "network": request.network,
        "memory_bytes": request.limits.memory_bytes,
        "cpu": request.limits.cpu,
    }
