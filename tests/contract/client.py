"""Runs under an official client's own interpreter: `python client.py MODE` runs every check, a line of JSON for each.

Nothing of this project is imported here but the checks beside it; the client is used as its users use it, configured by
DAYTONA_API_URL and DAYTONA_API_KEY alone. MODE is sync or async: the same checks run with both.
"""

import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
import time
import traceback
from importlib import metadata

MARK = "RESULT "
AREAS = (
    "lifecycle",
    "files",
    "process",
    "terminals",
    "interpreter",
    "git",
    "snapshots",
    "settings",
    "errors",
)


class Skip(Exception):
    """This client has no such call."""


class Client:
    """What a check gets: the client's module, one client, and one sandbox that all checks of an area share."""

    def __init__(self, module, is_async):
        self.module = module
        self.is_async = is_async
        self.version = _version()
        self.client = (module.AsyncDaytona if is_async else module.Daytona)()
        self.box = None

    async def __call__(self, function, *args, **kwargs):
        """Call one method of either kind."""
        result = function(*args, **kwargs)
        if not inspect.isawaitable(result):
            return result
        # Even a client without async has calls that follow a stream: its users give them a loop of their own.
        return await result if self.is_async else asyncio.run(_whole(result))

    async def sleep(self, seconds):
        """Wait a moment."""
        if self.is_async:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)

    async def all(self, function, *args, **kwargs):
        """Everything an iterator, a page or a list gives."""
        found = await self(function, *args, **kwargs)
        if hasattr(found, "__aiter__"):
            return [one async for one in found]
        return list(getattr(found, "items", found))

    def need(self, path, start=None):
        """Skip where the client lacks a method, named from the sandbox such as fs.find_files."""
        found = self.box if start is None else start
        for name in path.split("."):
            found = getattr(found, name, None)
            if found is None:
                raise Skip(f"client {'.'.join(map(str, self.version))} has no {path}")
        return found

    def skip(self, why):
        """Leave a check out, with the reason."""
        raise Skip(why)

    async def raises(self, names, function, *args, **kwargs):
        """The error a call must raise; one of these class names where the client has any of them."""
        try:
            await self(function, *args, **kwargs)
        except Exception as error:
            classes = [getattr(self.module, name) for name in names if hasattr(self.module, name)]
            assert not classes or isinstance(error, tuple(classes)), f"{type(error).__name__}: {error}"
            return error
        raise AssertionError("nothing was raised")

    async def fresh(self, **fields):
        """A new sandbox of default parameters but for these."""
        if not fields:
            return await self(self.client.create)
        return await self(self.client.create, self.module.CreateSandboxFromSnapshotParams(**fields))


async def _whole(awaitable):
    return await awaitable


def _version():
    for name in ("daytona", "daytona-sdk"):
        try:
            return tuple(int(part) for part in metadata.version(name).split("."))
        except metadata.PackageNotFoundError:
            continue
    raise SystemExit("no official client is installed here")


def checks_of(area):
    """The checks of one area, by name."""
    module = importlib.import_module(f"checks_{area}")
    return {name: found for name, found in vars(module).items() if name.startswith("check_")}


async def main(mode):
    """Run all of them."""
    module = importlib.import_module("daytona" if _has("daytona") else "daytona_sdk")
    client = Client(module, mode == "async")
    for area in AREAS:
        client.box = await client.fresh()
        for name, check in checks_of(area).items():
            said = json.dumps({"check": f"{area}.{name[6:]}", **await _run(check, client)})
            print(f"\n{MARK}{said}", flush=True)  # clients print warnings of their own
        await client(client.box.delete)


async def _run(check, client):
    try:
        await (asyncio.wait_for(check(client), 60) if client.is_async else check(client))
    except Skip as reason:
        return {"outcome": "skipped", "why": str(reason)}
    except Exception:
        return {"outcome": "failed", "why": traceback.format_exc(limit=-4)[-3000:]}
    return {"outcome": "passed", "why": ""}


def _without_a_loop(work):
    """A client without async is used as in a plain program: no loop runs around its calls, so nothing is waited for."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a check waited although its client cannot")


def _has(name):
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    if sys.argv[1] == "async":
        asyncio.run(main("async"))
    else:
        _without_a_loop(main("sync"))
