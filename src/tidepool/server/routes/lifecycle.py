"""Control API: a sandbox's life after it was made (protocol sections 5.1 and 9).

Each change is answered when it is done and written down: no client ever waits for an event. What cannot be done in the
state a sandbox is in is 409 with the states that allow it.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.engine import Sandbox, State
from tidepool.engine.errors import InvalidSpec, WrongState
from tidepool.server import translate
from tidepool.server.answers import json_answer, read_json
from tidepool.server.routes import (
    described,
    engine_of,
    keeper_of,
    registry_of,
    sandbox_of,
)
from tidepool.server.routes.network import renew_secrets
from tidepool.toolbox.interpreter import copy_names
from tidepool.wire import paths
from tidepool.wire import sandbox as wire

_YES = {"true": True, "false": False}


async def start(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/start`: with the files it had when it stopped; nothing to do when it is started."""
    sandbox = sandbox_of(request)
    if sandbox.state is not State.STARTED:
        await renew_secrets(request, sandbox)
        await engine_of(request).start_again(sandbox)
        sandbox.touch()
    return await _changed(request, sandbox)


async def stop(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/stop`: its processes end, its files stay, unless it is to be deleted when it stops."""
    sandbox = sandbox_of(request)
    if keeper_of(request).terms_of(sandbox).auto_delete == 0:
        await engine_of(request).delete(sandbox)
    elif sandbox.state not in (State.STOPPED, State.ARCHIVED):
        await engine_of(request).stop(sandbox)
    return await _changed(request, sandbox)


async def archive(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/archive`."""
    sandbox = sandbox_of(request)
    engine_of(request).archive(sandbox)
    return await _changed(request, sandbox)


async def recover(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/recover`: out of state error, with the files that were saved when it failed."""
    sandbox = sandbox_of(request)
    if sandbox.state is not State.ERROR:
        raise WrongState(
            f"sandbox {sandbox.name} is {sandbox.state.value}; only one in state error is recovered"
        )
    await renew_secrets(request, sandbox)
    await engine_of(request).start_again(sandbox)
    return await _changed(request, sandbox)


async def resize(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/resize`."""
    asked = await read_json(request, wire.Resize)
    sandbox = sandbox_of(request)
    limits = translate.resized(sandbox.spec.limits, asked, sandbox.state is State.STARTED)
    await engine_of(request).resize(sandbox, limits)
    return await _changed(request, sandbox)


async def fork(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/fork`: another one that begins with the files of this one as they are now.

    Names of the shared interpreter come along; what did not is told in `tidepool.notKept`.
    """
    asked = await read_json(request, wire.Fork)
    sandbox = sandbox_of(request)
    twin = await engine_of(request).fork(sandbox, translate.forked(sandbox.spec, asked.name))
    twin.source, twin.env_changes = sandbox.source, dict(sandbox.env_changes)
    if sandbox.state is State.STARTED:
        twin.not_kept = await copy_names(sandbox, twin)
    await registry_of(request).add(twin, keeper_of(request).terms_of(sandbox))
    return json_answer(described(request, twin))


async def pause(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/pause`: memory is not kept by this isolation, so it is refused, not pretended."""
    sandbox_of(request)
    raise HTTPException(501, "the memory of a sandbox cannot be kept here; use stop, which keeps its files")


async def set_interval(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/{autostop|autoarchive|autodelete|ttl}/{minutes}`."""
    sandbox, keeper = sandbox_of(request), keeper_of(request)
    name = request.scope["path"].rstrip("/").split("/")[-2]
    terms = translate.with_interval(keeper.terms_of(sandbox), name, _minutes(request))
    keeper.watch(sandbox, terms)
    return await _changed(request, sandbox)


async def set_auto_pause(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/autopause/{minutes}`: 0, which is never, is all there is."""
    sandbox = sandbox_of(request)
    if _minutes(request):
        raise HTTPException(501, "sandboxes cannot be paused here; use autostop, which keeps their files")
    return json_answer(described(request, sandbox))


async def set_public(request: Request) -> Response:
    """`POST /sandbox/{sandbox}/public/{bool}`: whether its previews are open to everyone."""
    sandbox, word = sandbox_of(request), request.path_params["public"].lower()
    if word not in _YES:
        raise InvalidSpec(f"public is {word[:20]!r}; it is true or false")
    sandbox.public = _YES[word]
    return await _changed(request, sandbox)


async def _changed(request: Request, sandbox: Sandbox) -> Response:
    await registry_of(request).save(sandbox)
    return json_answer(described(request, sandbox))


def _minutes(request: Request) -> int:
    text = request.path_params["minutes"]
    try:
        return int(text[:12])
    except ValueError:
        raise InvalidSpec(f"the interval is {text[:20]!r}; it must be a number of minutes") from None


routes = [
    Route(paths.START, start, methods=["POST"]),
    Route(paths.STOP, stop, methods=["POST"]),
    Route(paths.ARCHIVE, archive, methods=["POST"]),
    Route(paths.RECOVER, recover, methods=["POST"]),
    Route(paths.RESIZE, resize, methods=["POST"]),
    Route(paths.FORK, fork, methods=["POST"]),
    Route(paths.PAUSE, pause, methods=["POST"]),
    Route(paths.AUTO_STOP, set_interval, methods=["POST"]),
    Route(paths.AUTO_ARCHIVE, set_interval, methods=["POST"]),
    Route(paths.AUTO_DELETE, set_interval, methods=["POST"]),
    Route(paths.TTL, set_interval, methods=["POST"]),
    Route(paths.AUTO_PAUSE, set_auto_pause, methods=["POST"]),
    Route(paths.PUBLIC, set_public, methods=["POST"]),
]
