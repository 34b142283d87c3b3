"""The client against a server that answers, misbehaves or leaves as the test wishes."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daytona_sdk import (
    AsyncDaytona,
    CreateSandboxFromSnapshotParams,
    DaytonaAuthenticationError,
    DaytonaConfig,
    DaytonaConnectionError,
    DaytonaConnectionTimeoutError,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaNotFoundError,
    DaytonaTimeoutError,
    FileDownloadRequest,
    FileUpload,
    SandboxState,
)
from tests.sdk.fake_server import BREAK_OFF, FakeServer, Handler, Reply, Request, reply_json, sandbox


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


RESULT = {
    "exitCode": 0,
    "result": "hi\n",
    "stdout": "hi\n",
    "stderr": "",
    "verdict": "exited",
    "durationMs": 1.5,
}


def client(server: FakeServer) -> AsyncDaytona:
    return AsyncDaytona(DaytonaConfig(api_key="key", api_url=server.url))


def with_boxes(server: FakeServer, rest: Handler) -> Handler:
    """Sandboxes are made, found and removed; the rest is the test's."""

    def answer(request: Request) -> Reply:
        if request.path.startswith("/api/sandbox"):
            return reply_json(sandbox(server, state="destroyed" if request.method == "DELETE" else "started"))
        return rest(request)

    return answer


class Serving(FakeServer):
    """A fake server on which sandboxes work; `rest` answers everything else."""

    def __init__(self, rest: Handler = lambda request: reply_json(RESULT)) -> None:
        super().__init__(with_boxes(self, rest))


async def test_a_life_from_create_to_delete() -> None:
    with Serving() as server:
        async with client(server) as daytona:
            box = await daytona.create()
            assert (box.id, box.state, box.isolation) == ("box-1", SandboxState.STARTED, None)
            done = await box.process.exec("echo hi", timeout=5)
            assert (done.exit_code, done.result, done.verdict, done.duration_ms) == (0, "hi\n", "exited", 1.5)
            await box.delete()
            assert box.state is SandboxState.DESTROYED
        wanted = [
            ("POST", "/api/sandbox"),
            ("POST", "/toolbox/box-1/process/execute"),
            ("DELETE", "/api/sandbox/box-1"),
        ]
        assert [(one.method, one.path) for one in server.seen] == wanted
        assert server.connections == 1
        for one in server.seen:
            assert one.headers["authorization"] == "Bearer key"
            assert one.headers["x-daytona-source"] == "sdk-python"
            assert one.headers["host"] in server.url


async def test_only_the_local_server_is_asked_for_the_package_index_unasked() -> None:
    with Serving() as server:
        async with client(server) as daytona:
            await daytona.create()
            await daytona.create(CreateSandboxFromSnapshotParams(dependencies=["numpy"], network="none"))
        plain, ours = (json.loads(one.body) for one in server.seen)
        assert "tidepool" not in plain
        assert ours["tidepool"] == {"dependencies": ["numpy"], "network": "none"}


async def test_leaving_the_block_removes_the_sandbox_even_on_an_error() -> None:
    with Serving() as server:
        async with client(server) as daytona:
            with pytest.raises(ValueError, match="mine"):
                async with await daytona.create():
                    raise ValueError("mine")
            assert server.seen[-1].method == "DELETE"


async def test_leaving_the_block_of_a_sandbox_that_is_gone_is_no_error() -> None:
    with FakeServer(lambda request: reply_json({"message": "gone"}, 404)) as server:
        server.handler = lambda request: (
            reply_json({"message": "gone"}, 404)
            if request.method == "DELETE"
            else reply_json(sandbox(server))
        )
        async with client(server) as daytona:
            async with await daytona.create() as box:
                with pytest.raises(DaytonaNotFoundError):
                    await box.delete()
            assert box.state is SandboxState.DESTROYED


async def test_a_server_that_is_slow_to_start_a_sandbox_is_asked_again() -> None:
    states = iter(["creating", "creating", "started"])
    with FakeServer(lambda request: reply_json(sandbox(server, state=next(states)))) as server:
        async with client(server) as daytona:
            assert (await daytona.create()).state is SandboxState.STARTED
        assert [one.method for one in server.seen] == ["POST", "GET", "GET"]


async def test_a_sandbox_that_never_starts_is_named() -> None:
    with FakeServer(lambda request: reply_json(sandbox(server, state="creating"))) as server:
        async with client(server) as daytona:
            with pytest.raises(DaytonaTimeoutError, match="box-1 is still creating") as caught:
                await daytona.create(timeout=0.2)
            assert caught.value.sandbox_id == "box-1"


async def test_a_sandbox_that_fails_to_start_says_why() -> None:
    answer = {"state": "error", "errorReason": "no image"}
    with FakeServer(lambda request: reply_json(sandbox(server, **answer))) as server:
        async with client(server) as daytona:
            with pytest.raises(DaytonaError, match="box-1 is error: no image"):
                await daytona.create()


async def test_list_follows_the_cursor() -> None:
    def answer(request: Request) -> Reply:
        last = request.query.get("cursor") == ["two"]
        return reply_json({"items": [sandbox(server)], "nextCursor": None if last else "two"})

    with FakeServer(answer) as server:
        async with client(server) as daytona:
            assert len(await daytona.list({"a": "b"})) == 2
        assert [json.loads(one.query["labels"][0]) for one in server.seen] == [{"a": "b"}, {"a": "b"}]


async def test_get_refresh_and_labels() -> None:
    def answer(request: Request) -> Reply:
        if request.method == "PUT":
            return reply_json(json.loads(request.body))
        return reply_json(sandbox(server, labels={"code-toolbox-language": "javascript"}))

    with FakeServer(answer) as server:
        async with client(server) as daytona:
            box = await daytona.get("a name")
            assert box.language == "javascript"
            await box.refresh_data()
            assert await box.set_labels({"x": "y"}) == {"x": "y"}
            assert box.labels == {"x": "y"}
        assert [one.path for one in server.seen] == [
            "/api/sandbox/a%20name", "/api/sandbox/box-1", "/api/sandbox/box-1/labels",
        ]  # fmt: skip


async def test_an_unknown_key_is_an_authentication_error() -> None:
    with FakeServer(lambda request: reply_json({"message": "Invalid credentials"}, 401)) as server:
        async with client(server) as daytona:
            with pytest.raises(
                DaytonaAuthenticationError, match="Failed to create sandbox: Invalid credentials"
            ):
                await daytona.create()


# The connection


async def test_an_idle_connection_that_the_server_closed_is_replaced() -> None:
    with Serving() as server:
        async with client(server) as daytona:
            box = await daytona.create()
            server.drop_connections()
            assert (await box.process.exec("true")).exit_code == 0
        assert server.connections == 2
        assert len(server.seen) == 2


async def test_a_connection_that_breaks_off_under_a_safe_request_is_tried_once_more() -> None:
    replies = iter([BREAK_OFF])
    with FakeServer(lambda request: next(replies, reply_json(sandbox(server)))) as server:
        async with client(server) as daytona:
            assert (await daytona.get("box-1")).id == "box-1"
        assert len(server.seen) == 2


async def test_a_safe_request_is_not_tried_for_ever() -> None:
    with FakeServer(lambda request: BREAK_OFF) as server:
        async with client(server) as daytona:
            with pytest.raises(DaytonaConnectionError, match="broke off"):
                await daytona.get("box-1")
        assert len(server.seen) == 2


async def test_a_command_is_never_sent_twice() -> None:
    with Serving(lambda request: BREAK_OFF) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises(DaytonaConnectionError, match=r"Failed to execute command: .* broke off"):
                await box.process.exec("true")
        assert len(server.seen) == 2


async def test_no_server_is_a_sentence() -> None:
    with FakeServer(lambda request: BREAK_OFF) as server:
        url = server.url
    async with AsyncDaytona(DaytonaConfig(api_key="k", api_url=url)) as daytona:
        with pytest.raises(DaytonaConnectionError, match="Failed to create sandbox: no server at http://127"):
            await daytona.create()


async def test_a_silent_server_is_given_up() -> None:
    release = threading.Event()
    with FakeServer(lambda request: Reply(hold=release)) as server:
        async with client(server) as daytona:
            with pytest.raises(DaytonaConnectionTimeoutError, match=r"made no progress for 0\.2 s"):
                await daytona.create(timeout=0.2)
        release.set()


async def test_a_key_that_cannot_be_in_a_header_is_a_sentence() -> None:
    with Serving() as server:
        async with AsyncDaytona(DaytonaConfig(api_key="a\r\nb: c", api_url=server.url)) as daytona:
            with pytest.raises(DaytonaError, match="the request cannot be sent"):
                await daytona.create()
        assert server.seen == []


# Files


async def test_upload_from_memory_has_a_length_and_from_a_file_is_streamed(tmp_path: Path) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(range(256)) * 2000)
    with Serving(lambda request: reply_json({"files": []})) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            await box.fs.upload_file(b"abc", "a.txt")
            await box.fs.upload_file(str(local), "b.bin")
            await box.fs.upload_files([FileUpload(b"1", "one"), FileUpload(local, "two")])
            await box.fs.upload_files([])
        memory, streamed, both = server.seen[1:]
        assert b"abc" in memory.body
        assert "content-length" in memory.headers
        assert streamed.headers["transfer-encoding"] == "chunked"
        assert local.read_bytes() in streamed.body
        assert both.body.count(b"Content-Disposition") == 4


async def test_a_local_file_that_cannot_be_read_stops_before_anything_is_sent(tmp_path: Path) -> None:
    with Serving() as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises(FileNotFoundError):
                await box.fs.upload_files([FileUpload(b"1", "one"), FileUpload(tmp_path / "no", "two")])
            with pytest.raises(IsADirectoryError):
                await box.fs.upload_file(tmp_path, "x")
        assert len(server.seen) == 1


def files(request: Request) -> Reply:
    if request.query["path"] == ["missing"]:
        body = {"message": "no such file", "code": "FILE_NOT_FOUND", "source": "DAYTONA_DAEMON"}
        return reply_json(body, 404)
    if request.query["path"] == ["cut"]:
        return Reply(body=b"half", promise=8, close=True)
    return Reply(body=b"\x00\xffcontent")


async def test_download_into_memory_and_into_a_file(tmp_path: Path) -> None:
    with Serving(files) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            assert await box.fs.download_file("a") == b"\x00\xffcontent"
            assert await box.fs.download_file("a", 60) == b"\x00\xffcontent"
            await box.fs.download_file("a", str(tmp_path / "a"))
            assert (tmp_path / "a").read_bytes() == b"\x00\xffcontent"


@pytest.mark.parametrize("path", ["missing", "cut"])
async def test_a_failed_download_leaves_the_local_file_alone(tmp_path: Path, path: str) -> None:
    local = tmp_path / "kept"
    local.write_bytes(b"older")
    with Serving(files) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises((DaytonaFileNotFoundError, DaytonaConnectionError)):
                await box.fs.download_file(path, local)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("kept", b"older")]


async def test_of_several_downloads_one_may_fail(tmp_path: Path) -> None:
    wanted = [
        FileDownloadRequest("a"),
        FileDownloadRequest("missing"),
        FileDownloadRequest("b", str(tmp_path / "b")),
    ]
    with Serving(files) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            first, second, third = await box.fs.download_files(wanted)
    assert (first.result, first.error) == (b"\x00\xffcontent", None)
    assert (second.result, second.error) == (None, "Failed to download file: no such file")
    assert third.result == str(tmp_path / "b")


async def test_the_other_file_calls() -> None:
    info = {
        "name": "a", "isDir": False, "size": 3, "modTime": "t", "mode": "-rw-r--r--", "permissions": "0644",
        "owner": "1000", "group": "1000",
    }  # fmt: skip

    def answer(request: Request) -> Reply:
        if request.path.endswith("/files") and request.method == "GET":
            return reply_json([info])
        if request.path.endswith("/info"):
            return reply_json(info)
        return Reply(204 if request.method == "DELETE" else 201)

    with Serving(answer) as server:
        async with client(server) as daytona:
            fs = (await daytona.create()).fs
            assert (await fs.list_files("d"))[0].permissions == "0644"
            assert (await fs.get_file_info("a")).size == 3
            await fs.create_folder("d", "700")
            await fs.move_files("a", "b")
            await fs.set_file_permissions("b", mode="600")
            await fs.delete_file("d", recursive=True)
    assert [(one.method, one.path.removeprefix("/toolbox/box-1"), one.query) for one in server.seen[1:]] == [
        ("GET", "/files", {"path": ["d"]}),
        ("GET", "/files/info", {"path": ["a"]}),
        ("POST", "/files/folder", {"path": ["d"], "mode": ["700"]}),
        ("POST", "/files/move", {"source": ["a"], "destination": ["b"]}),
        ("POST", "/files/permissions", {"path": ["b"], "mode": ["600"]}),
        ("DELETE", "/files", {"path": ["d"], "recursive": ["true"]}),
    ]


async def test_a_server_that_leaves_ends_all_downloads() -> None:
    with Serving(files) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises(DaytonaConnectionError, match="Failed to download file"):
                await box.fs.download_files([FileDownloadRequest("cut"), FileDownloadRequest("a")])


# Streams


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


CLOSING = frame(0, json.dumps({"exitCode": 3, "verdict": "exited", "durationMs": 2.0}).encode())


async def test_a_stream_gives_chunks_then_the_result() -> None:
    data = frame(1, b"out") + frame(2, b"err") + CLOSING
    with Serving(lambda request: Reply(chunks=(data[:4], data[4:12], data[12:]))) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            async with box.process.stream("make", timeout=9) as running:
                with pytest.raises(DaytonaError, match="no result yet"):
                    _ = running.result
                chunks = [(chunk.stream, chunk.data) async for chunk in running]
            assert chunks == [("stdout", b"out"), ("stderr", b"err")]
            assert (running.result.exit_code, running.result.verdict) == (3, "exited")
        assert json.loads(server.seen[1].body) == {"command": "make", "timeout": 9}


async def test_leaving_a_stream_early_closes_its_connection() -> None:
    release = threading.Event()
    with Serving(lambda request: Reply(chunks=(frame(1, b"x"), CLOSING), hold=release)) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            release.set()
            async with box.process.stream(code="while True: print(1)") as running:
                async for chunk in running:
                    assert chunk.data == b"x"
                    break
            wait_until(lambda: server.ended == {1})


async def test_a_stream_read_to_its_end_needs_no_block() -> None:
    with Serving(lambda request: Reply(chunks=(frame(1, b"x"), CLOSING))) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            running = box.process.stream("x")
            assert [chunk.data async for chunk in running] == [b"x"]
            assert running.result.exit_code == 3
            wait_until(lambda: server.ended == {1})


async def test_a_stream_that_ends_without_a_result_is_an_error() -> None:
    with Serving(lambda request: Reply(chunks=(frame(1, b"x"),))) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises(DaytonaConnectionError, match="ended before its result"):
                _ = [chunk async for chunk in box.process.stream("x")]
            await box.refresh_data()
        assert server.connections == 1


@pytest.mark.parametrize("data", [frame(7, b""), frame(0, b"{"), frame(0, b"{}"), frame(0, b"1")])
async def test_a_stream_that_is_none_is_an_error_and_is_closed(data: bytes) -> None:
    with Serving(lambda request: Reply(chunks=(data,) * 2)) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            running = box.process.stream("x")
            with pytest.raises(DaytonaError, match="is not what the protocol says"):
                _ = [chunk async for chunk in running]
            wait_until(lambda: server.ended == {1})


async def test_a_stream_that_is_refused_raises_what_was_said() -> None:
    with Serving(lambda request: reply_json({"message": "no such box"}, 404)) as server:
        async with client(server) as daytona:
            box = await daytona.create()
            with pytest.raises(DaytonaNotFoundError, match="Failed to stream command: no such box"):
                _ = [chunk async for chunk in box.process.stream("x")]


async def test_a_test_report_is_read_whole() -> None:
    report = {
        "success": False, "reason": "1 of 1 tests failed", "exitCode": 1, "verdict": "exited",
        "verdictBasis": "in_process", "output": "o", "stdout": "o", "stderr": "", "durationMs": 5, "complete": True,
        "peakMemoryBytes": 7, "truncatedBytes": 0, "collectionErrors": [],
        "tests": [{"nodeId": "t.py::test_a", "outcome": "failed", "durationMs": 1, "message": "assert 0"}],
    }  # fmt: skip
    with Serving(lambda request: reply_json(report)) as server:
        async with client(server) as daytona:
            found = await (await daytona.create()).process.run_tests("t.py", timeout=5)
    assert (found.success, found.reason, found.verdict_basis) == (False, "1 of 1 tests failed", "in_process")
    assert (found.tests[0].node_id, found.tests[0].outcome) == ("t.py::test_a", "failed")
