"""One client used from many threads, across a fork, and by tasks that are cancelled."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio

from daytona_sdk import AsyncDaytona, Daytona, DaytonaConfig
from tests.sdk.fake_server import FakeServer, Reply, Request, reply_json, sandbox


def echo(server: FakeServer) -> None:
    """Answer a command with itself, so that a mixed-up answer shows."""

    def answer(request: Request) -> Reply:
        if request.path.startswith("/api/sandbox"):
            return reply_json(sandbox(server))
        command = request.json()["command"]  # type: ignore[index]
        return reply_json({"exitCode": 0, "result": command})

    server.handler = answer


def test_threads_share_a_client_and_get_their_own_answers() -> None:
    with FakeServer(lambda request: Reply()) as server:
        echo(server)
        with Daytona(DaytonaConfig(api_key="k", api_url=server.url)) as daytona:
            barrier = threading.Barrier(16)

            def work(number: int) -> bool:
                barrier.wait()
                box = daytona.create()
                return all(
                    box.process.exec(f"{number} {turn}").result == f"{number} {turn}" for turn in range(10)
                )

            with ThreadPoolExecutor(16) as threads:
                assert all(threads.map(work, range(16)))
        assert server.connections <= 16


FORKS = """
import os, sys
from daytona_sdk import Daytona, DaytonaConfig

with Daytona(DaytonaConfig(api_key="k", api_url=sys.argv[1])) as daytona:
    box = daytona.create()
    child = os.fork()
    said = box.process.exec("hello").result
    if child == 0:
        os._exit(0 if said == "hello" else 1)
    sys.exit(0 if said == "hello" and os.waitpid(child, 0)[1] == 0 else 1)
"""


def test_a_program_that_closes_nothing_gets_no_warning() -> None:
    program = FORKS.split("with ")[0] + (
        "def work():\n"
        "    Daytona(DaytonaConfig(api_key='k', api_url=sys.argv[1])).create()\n"
        "work()\n"
        "kept = Daytona(DaytonaConfig(api_key='k', api_url=sys.argv[1])).create()\n"
    )
    with FakeServer(lambda request: Reply()) as server:
        echo(server)
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, server.url]
        done = subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_forked_child_does_not_speak_on_its_parents_connection() -> None:
    with FakeServer(lambda request: Reply()) as server:
        echo(server)
        subprocess.run([sys.executable, "-c", FORKS, server.url], check=True, timeout=30)
        assert server.connections == 2
        assert sorted(one.connection for one in server.seen) == [1, 1, 2]


async def test_a_cancelled_call_closes_its_connection_so_that_the_server_knows() -> None:
    with FakeServer(lambda request: Reply()) as server:
        echo(server)
        async with AsyncDaytona(DaytonaConfig(api_key="k", api_url=server.url)) as daytona:
            box = await daytona.create()
            held = threading.Event()
            server.handler = lambda request: Reply(hold=held)
            with anyio.move_on_after(0.2) as scope:
                await box.process.exec("sleep 100")
            assert scope.cancelled_caught
            held.set()
            with anyio.fail_after(5):
                while server.ended != {1}:
                    await anyio.sleep(0.01)
            echo(server)
            assert (await box.process.exec("next")).result == "next"


async def test_tasks_share_a_client_and_get_their_own_answers() -> None:
    with FakeServer(lambda request: Reply()) as server:
        echo(server)
        async with AsyncDaytona(DaytonaConfig(api_key="k", api_url=server.url)) as daytona:

            async def work(number: int) -> None:
                box = await daytona.create()
                for turn in range(10):
                    assert (await box.process.exec(f"{number} {turn}")).result == f"{number} {turn}"

            async with anyio.create_task_group() as tasks:
                for number in range(16):
                    tasks.start_soon(work, number)
        assert server.connections <= 16
