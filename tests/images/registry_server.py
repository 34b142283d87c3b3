"""A registry on loopback that tests can ask and misuse: tokens, indexes, redirects, and blobs that are not true.

It follows the distribution specification as far as pulling goes; what it serves is put into it by the test.
"""

import base64
import contextlib
import json
import platform
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.images.tars import Made, digest

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
TOKEN = "opened"


@dataclass
class RegistryServer:
    """What it serves, and what it was asked."""

    url: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    password: str = ""
    """Asked for by the token service; empty: nobody is asked anything."""
    redirects_to: str = ""
    """Where blobs are said to be; empty: here."""
    asked: list[str] = field(default_factory=list)
    tokens_elsewhere: list[str] = field(default_factory=list)
    """Authorization headers that came to where blobs are redirected."""

    def put(self, repository: str, tag: str, image: Made, *, platforms: bool = True) -> None:
        """Serve an image, below an index of platforms or by itself."""
        self.blobs |= image.blobs
        self.manifests[repository, digest(image.manifest)] = image.manifest
        if not platforms:
            self.manifests[repository, tag] = image.manifest
            return
        other = Made([b"another machine's"])
        entries = [
            {"digest": digest(one.manifest), "size": 1, "platform": {"os": "linux", "architecture": machine}}
            for one, machine in ((other, "s390x"), (image, MACHINE))
        ]
        self.manifests[repository, tag] = json.dumps({"manifests": entries}).encode()

    async def manifest(self, request: Request) -> Response:
        """`GET /v2/{name}/manifests/{version}`."""
        name, version = request.path_params["name"], request.path_params["version"]
        if (refused := self._challenge(request, name)) is not None:
            return refused
        found = self.manifests.get((name, version))
        return Response(found) if found is not None else Response(status_code=404)

    async def blob(self, request: Request) -> Response:
        """`GET /v2/{name}/blobs/{digest}`."""
        name, wanted = request.path_params["name"], request.path_params["digest"]
        if (refused := self._challenge(request, name)) is not None:
            return refused
        if self.redirects_to:
            return RedirectResponse(f"{self.redirects_to}/{wanted}")
        return Response(self.blobs[wanted]) if wanted in self.blobs else Response(status_code=404)

    async def stored(self, request: Request) -> Response:
        """Where blobs are redirected to."""
        self.tokens_elsewhere.append(request.headers.get("authorization", ""))
        return Response(self.blobs[request.path_params["digest"]])

    async def token(self, request: Request) -> Response:
        """The token service."""
        self.asked.append(request.query_params["scope"])
        right = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
        if request.headers.get("authorization") != right:
            return Response(status_code=401)
        return JSONResponse({"token": TOKEN})

    def _challenge(self, request: Request, name: str) -> Response | None:
        self.asked.append(request.url.path)
        if not self.password or request.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        header = f'Bearer realm="{self.url}/token",service="test",scope="repository:{name}:pull"'
        return Response(status_code=401, headers={"www-authenticate": header})


@contextlib.contextmanager
def serving() -> Iterator[RegistryServer]:
    """A registry that ends with the block."""
    registry = RegistryServer()
    app = Starlette(
        routes=[
            Route("/v2/{name:path}/manifests/{version}", registry.manifest),
            Route("/v2/{name:path}/blobs/{digest}", registry.blob),
            Route("/stored/{digest}", registry.stored),
            Route("/token", registry.token),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    registry.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield registry
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
