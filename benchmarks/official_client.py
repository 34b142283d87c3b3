"""What calls cost through the newest official client, beside the same client against a server that does nothing.

`official_client.py [ROUNDS]`. The second server answers every call at once with what the first had answered, so its
column is the client's own cost and the wire's. Both run in this one run; the client is the contract tests' own.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import own_server, table

ROOT = Path(__file__).parents[1]
CALLS = """
import json, os, sys, time
from daytona import Daytona
rounds = int(sys.argv[1])
client = Daytona()
times = {}
def timed(name, call, *args):
    started = time.perf_counter()
    found = call(*args)
    times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
    return found
for number in range(rounds + 3):
    time.sleep(0.05)  # the pool refills between rounds, outside the timed part
    box = timed("create", client.create)
    timed("exec", box.process.exec, "true")
    timed("code_run", box.process.code_run, "print(1)")
    timed("upload", box.fs.upload_file, b"x" * 1000, "file")
    timed("download", box.fs.download_file, "file")
    timed("delete", box.delete)
print(json.dumps({name: values[3:] for name, values in times.items()}))
"""


def calls(python: Path, url: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call with the client."""
    environment = {"DAYTONA_API_URL": url, "DAYTONA_API_KEY": "benchmark", "PATH": "/usr/bin:/bin"}
    command = [str(python), "-c", CALLS, str(rounds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


@contextmanager
def empty_server() -> Iterator[str]:
    """A server that says to each call what a real one said, without doing anything."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    sandbox = {
        "id": "00000000-0000-4000-8000-00000000000a",
        "organizationId": "00000000-0000-4000-8000-000000000001",
        "name": "empty", "user": "daytona", "env": {}, "labels": {"code-toolbox-language": "python"},
        "public": False, "networkBlockAll": False, "kvm": False, "target": "local", "cpu": 1, "gpu": 0, "memory": 1,
        "disk": 1, "state": "started", "desiredState": "started",
    }  # fmt: skip

    async def one(request: Request) -> Response:
        return JSONResponse({**sandbox, "toolboxProxyUrl": f"http://{request.headers['host']}/toolbox"})

    async def ran(request: Request) -> Response:
        await request.body()
        return JSONResponse({"exitCode": 0, "result": "1\n"})

    async def uploaded(request: Request) -> Response:
        await request.body()
        return JSONResponse({"files": [{"path": "file", "bytes": 1000}]})

    async def downloaded(request: Request) -> Response:
        await request.body()
        head = '--b\r\nContent-Disposition: form-data; name="file"; filename="file"\r\nContent-Length: 1000\r\n\r\n'
        return Response(f"{head}{'x' * 1000}\r\n--b--\r\n", media_type="multipart/form-data; boundary=b")

    box = "/toolbox/{sandbox}"
    app = Starlette(
        routes=[
            Route("/api/sandbox", one, methods=["POST"]),
            Route("/api/sandbox/{sandbox}", one, methods=["GET", "DELETE"]),
            Route(f"{box}/process/execute", ran, methods=["POST"]),
            Route(f"{box}/process/code-run", ran, methods=["POST"]),
            Route(f"{box}/files/bulk-upload", uploaded, methods=["POST"]),
            Route(f"{box}/files/bulk-download", downloaded, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/api"
    finally:
        server.should_exit = True
        thread.join()


def main(rounds: int) -> None:
    """Measure and print."""
    sys.path.insert(0, str(ROOT))
    from tests.contract.test_clients import environment

    python = environment("0.226.1")
    with tempfile.TemporaryDirectory(), own_server(pool=4) as config, empty_server() as empty:
        assert config.api_url is not None
        times: dict[str, list[float]] = {}
        for _ in range(2):  # in turn, so that a slow moment of the machine hits both
            for where, url in (("", config.api_url), (", empty server", empty)):
                for name, values in calls(python, url, rounds // 2).items():
                    times.setdefault(f"{name}{where}", []).extend(values)
    print(table(times, "create, empty server"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
