"""Toolbox: what a sandbox's programs have: environment, listening ports, and how much of its limits is used."""

import asyncio
import math
import re
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import Sandbox
from tidepool.server.answers import json_answer, read_json, timestamp
from tidepool.server.connection import ends_with_client
from tidepool.server.routes import registry_of, sandbox_of
from tidepool.toolbox.listening import listening
from tidepool.wire import info as wire
from tidepool.wire import paths

SAMPLE_S = 0.1
"""Between the two looks at the processor time."""
_PORT = re.compile("[0-9]{1,5}")
_DONE: dict[str, str] = {}
_SERIES = {
    "daytona.sandbox.cpu.utilization": "cpuUsedPct",
    "daytona.sandbox.cpu.limit": "cpuCount",
    "daytona.sandbox.memory.usage": "memUsed",
    "daytona.sandbox.memory.limit": "memTotal",
    "daytona.sandbox.memory.cache": "memCache",
    "daytona.sandbox.filesystem.usage": "diskUsed",
    "daytona.sandbox.filesystem.total": "diskTotal",
}
"""Names that clients ask for, and the members of the present figures that answer them."""


async def update_env(request: Request) -> Response:
    """`POST /env`: for runs to come, also of those after a restart."""
    asked, sandbox = await read_json(request, wire.UpdateEnv), sandbox_of(request)
    await sandbox.change_env(asked.set, [*asked.unset, *_with_value(sandbox, asked.unset_value_prefix)])
    await registry_of(request).save(sandbox)
    return json_answer(_DONE)


def _with_value(sandbox: Sandbox, prefix: str) -> list[str]:
    now = {**sandbox.spec.env, **sandbox.env_changes}
    return [name for name, value in now.items() if prefix and value is not None and value.startswith(prefix)]


@ends_with_client
async def ports(request: Request) -> Response:
    """`GET /port`."""
    return json_answer(wire.Ports(await listening(sandbox_of(request))))


@ends_with_client
async def port_in_use(request: Request) -> Response:
    """`GET /port/{port}/in-use`."""
    text = request.path_params["port"]
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise HTTPException(400, f"port is {text[:20]!r}; allowed is 1 to 65535")
    return json_answer(wire.PortInUse(int(text) in await listening(sandbox_of(request))))


@ends_with_client
async def metrics(request: Request) -> Response:
    """`GET /system/metrics`: takes a tenth of a second, in which the processor time is counted."""
    return json_answer(await _sample(sandbox_of(request)))


@ends_with_client
async def history(request: Request) -> Response:
    """`GET /sandbox/{sandbox}/telemetry/metrics`: the present figures as series of one point; none are kept."""
    now = msgspec.to_builtins(await _sample(sandbox_of(request)))
    wanted = ",".join(request.query_params.getlist("metricNames")).split(",")
    series = [
        wire.Series(name, [wire.Point(now["timestamp"], float(now[field]))])
        for name, field in _SERIES.items()
        if field in now and (wanted == [""] or name in wanted)
    ]
    return json_answer(wire.History(series))


async def _sample(sandbox: Sandbox) -> wire.Metrics:
    limits, loop = sandbox.spec.limits, asyncio.get_running_loop()
    total, free = await sandbox.files.space("/tmp")
    before, began = await sandbox.usage(), loop.time()
    await asyncio.sleep(SAMPLE_S)
    after, passed = await sandbox.usage(), loop.time() - began
    used_pct = None
    if before.cpu_ns is not None and after.cpu_ns is not None:
        used_pct = round((after.cpu_ns - before.cpu_ns) / 1e7 / passed / limits.cpu, 2)
    now = datetime.now(UTC)
    return wire.Metrics(
        cpu_count=math.ceil(limits.cpu),
        cpu_used_pct=UNSET if used_pct is None else used_pct,
        mem_total=limits.memory_bytes,
        mem_used=UNSET if after.memory_bytes is None else after.memory_bytes,
        mem_cache=UNSET if after.cache_bytes is None else after.cache_bytes,
        disk_total=total,
        disk_used=total - free,
        disk_free=free,
        timestamp=timestamp(now),
        timestamp_unix=int(now.timestamp()),
    )


routes = [
    Route(paths.ENV, update_env, methods=["POST"]),
    Route(paths.PORTS, ports, methods=["GET"]),
    Route(paths.PORT_IN_USE, port_in_use, methods=["GET"]),
    Route(paths.METRICS, metrics, methods=["GET"]),
]
control_routes = [Route(paths.METRICS_HISTORY, history, methods=["GET"])]
