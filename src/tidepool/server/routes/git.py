"""Toolbox: git (protocol section 6.3)."""

import functools
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidepool.server.answers import json_answer, read_json, refusal
from tidepool.server.connection import ends_with_client
from tidepool.server.routes import sandbox_of
from tidepool.toolbox import git
from tidepool.toolbox.git import Git, GitFailed
from tidepool.wire import git as wire
from tidepool.wire import paths

Handler = Callable[[Request], Awaitable[Response]]
_DONE: dict[str, str] = {}


def _told(handler: Handler) -> Handler:
    """A handler that ends with its client, and whose refusal by git has git's own words and code."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except GitFailed as error:
            return refusal(request.scope, error.status, str(error), error.code)

    return ends_with_client(answer)


@_told
async def clone(request: Request) -> Response:
    """`POST /git/clone`."""
    asked = await read_json(request, wire.Clone)
    await Git(sandbox_of(request), asked.path).clone(asked)
    return json_answer(_DONE)


@_told
async def init(request: Request) -> Response:
    """`POST /git/init`."""
    asked = await read_json(request, wire.Init)
    await Git(sandbox_of(request), asked.path).init(asked)
    return json_answer(_DONE, 201)


@_told
async def status(request: Request) -> Response:
    """`GET /git/status`."""
    return json_answer(await _asked(request).status())


@_told
async def branches(request: Request) -> Response:
    """`GET /git/branches`."""
    return json_answer(await _asked(request).branches())


@_told
async def create_branch(request: Request) -> Response:
    """`POST /git/branches`."""
    asked = await read_json(request, wire.Branch)
    await Git(sandbox_of(request), asked.path).create_branch(asked.name)
    return json_answer(_DONE, 201)


@_told
async def delete_branch(request: Request) -> Response:
    """`DELETE /git/branches`: the branch is in the body."""
    asked = await read_json(request, wire.Branch)
    await Git(sandbox_of(request), asked.path).delete_branch(asked.name)
    return Response(status_code=204)


@_told
async def checkout(request: Request) -> Response:
    """`POST /git/checkout`."""
    asked = await read_json(request, wire.Checkout)
    await Git(sandbox_of(request), asked.path).checkout(asked.branch)
    return json_answer(_DONE)


@_told
async def add(request: Request) -> Response:
    """`POST /git/add`."""
    asked = await read_json(request, wire.Add)
    await Git(sandbox_of(request), asked.path).add(asked.files)
    return json_answer(_DONE)


@_told
async def commit(request: Request) -> Response:
    """`POST /git/commit`."""
    asked = await read_json(request, wire.Commit)
    return json_answer(wire.Committed(await Git(sandbox_of(request), asked.path).commit(asked)))


@_told
async def push(request: Request) -> Response:
    """`POST /git/push`."""
    asked = await read_json(request, wire.Transfer)
    await Git(sandbox_of(request), asked.path).push(asked)
    return json_answer(_DONE)


@_told
async def pull(request: Request) -> Response:
    """`POST /git/pull`."""
    asked = await read_json(request, wire.Transfer)
    await Git(sandbox_of(request), asked.path).pull(asked)
    return json_answer(_DONE)


@_told
async def history(request: Request) -> Response:
    """`GET /git/history`."""
    return json_answer(await _asked(request).history())


@_told
async def reset(request: Request) -> Response:
    """`POST /git/reset`."""
    asked = await read_json(request, wire.Reset)
    await Git(sandbox_of(request), asked.path).reset(asked)
    return json_answer(_DONE)


@_told
async def restore(request: Request) -> Response:
    """`POST /git/restore`."""
    asked = await read_json(request, wire.Restore)
    await Git(sandbox_of(request), asked.path).restore(asked)
    return json_answer(_DONE)


@_told
async def remotes(request: Request) -> Response:
    """`GET /git/remotes`."""
    return json_answer(wire.Remotes(await _asked(request).remotes()))


@_told
async def add_remote(request: Request) -> Response:
    """`POST /git/remotes`."""
    asked = await read_json(request, wire.AddRemote)
    await Git(sandbox_of(request), asked.path).add_remote(asked)
    return json_answer(_DONE, 201)


@_told
async def get_config(request: Request) -> Response:
    """`GET /git/config`."""
    query = request.query_params
    asked = _needed(request, "key"), query.get("path") or None, query.get("scope") or None
    value = await git.get_config(sandbox_of(request), *asked)
    return json_answer(wire.ConfigValue() if value is None else wire.ConfigValue(value))


@_told
async def set_config(request: Request) -> Response:
    """`POST /git/config`."""
    await git.set_config(sandbox_of(request), await read_json(request, wire.SetConfig))
    return json_answer(_DONE)


@_told
async def configure_user(request: Request) -> Response:
    """`POST /git/config/user`."""
    await git.configure_user(sandbox_of(request), await read_json(request, wire.ConfigureUser))
    return json_answer(_DONE)


@_told
async def authenticate(request: Request) -> Response:
    """`POST /git/credentials`."""
    await git.authenticate(sandbox_of(request), await read_json(request, wire.Authenticate))
    return json_answer(_DONE)


def _asked(request: Request) -> Git:
    return Git(sandbox_of(request), _needed(request, "path"))


def _needed(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise HTTPException(400, f"the query parameter {name!r} is missing")
    return value


routes = [
    Route(paths.GIT_CLONE, clone, methods=["POST"]),
    Route(paths.GIT_INIT, init, methods=["POST"]),
    Route(paths.GIT_STATUS, status, methods=["GET"]),
    Route(paths.GIT_BRANCHES, branches, methods=["GET"]),
    Route(paths.GIT_BRANCHES, create_branch, methods=["POST"]),
    Route(paths.GIT_BRANCHES, delete_branch, methods=["DELETE"]),
    Route(paths.GIT_CHECKOUT, checkout, methods=["POST"]),
    Route(paths.GIT_ADD, add, methods=["POST"]),
    Route(paths.GIT_COMMIT, commit, methods=["POST"]),
    Route(paths.GIT_PUSH, push, methods=["POST"]),
    Route(paths.GIT_PULL, pull, methods=["POST"]),
    Route(paths.GIT_HISTORY, history, methods=["GET"]),
    Route(paths.GIT_RESET, reset, methods=["POST"]),
    Route(paths.GIT_RESTORE, restore, methods=["POST"]),
    Route(paths.GIT_REMOTES, remotes, methods=["GET"]),
    Route(paths.GIT_REMOTES, add_remote, methods=["POST"]),
    Route(paths.GIT_CONFIG, get_config, methods=["GET"]),
    Route(paths.GIT_CONFIG, set_config, methods=["POST"]),
    Route(paths.GIT_CONFIG_USER, configure_user, methods=["POST"]),
    Route(paths.GIT_CREDENTIALS, authenticate, methods=["POST"]),
]
