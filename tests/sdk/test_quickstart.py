"""The reference document's programs, run as they stand: no account, no key check, no server started by hand."""

from pathlib import Path

import pytest

from tests.conftest import Server
from tests.sdk.conftest import LocalPlace

pytestmark = pytest.mark.needs("user_namespace", "overlayfs")

QUICK_START = """
from daytona_sdk import Daytona, DaytonaConfig

# Initialize Daytona client
config = DaytonaConfig(api_key="your-api-key")
daytona = Daytona(config)

# Create a sandbox
sandbox = daytona.create()

# Upload a file
file_content = b"print('Hello from Daytona!')"
sandbox.fs.upload_file(file_content, "hello.py")

# Execute code
response = sandbox.process.code_run('python hello.py')
print(response.result)

# Clean up
sandbox.delete()
"""

ASYNC_QUICK_START = """
import asyncio
from daytona_sdk import AsyncDaytona, DaytonaConfig

async def main():
    async with AsyncDaytona(DaytonaConfig(api_key="your-api-key")) as daytona:
        sandbox = await daytona.create()
        await sandbox.fs.upload_file(b"print('Hello from Daytona!')", "hello.py")
        response = await sandbox.process.code_run('python hello.py')
        print(response.result)
        await sandbox.delete()

asyncio.run(main())
"""

CORE_CONCEPTS = """
from daytona_sdk import Daytona

daytona = Daytona()
sandbox = None
try:
    sandbox = daytona.create()
    assert daytona.get(sandbox.id).id == sandbox.id
    sandbox.fs.upload_file(bytes(range(256)), "filename.py")
    assert sandbox.fs.download_file("filename.py") == bytes(range(256))
    result = sandbox.process.code_run('python missing.py')
    assert result.exit_code != 0, result
    result = sandbox.process.code_run('print(6 * 7)')
    assert (result.result, result.exit_code) == ("42\\n", 0), result
    result = sandbox.process.exec('echo out; echo err >&2; exit 3')
    assert (result.stdout, result.stderr, result.exit_code) == ("out\\n", "err\\n", 3), result
    print("all true")
finally:
    if sandbox:
        sandbox.delete()
assert sandbox.id not in [one.id for one in daytona.list()]
"""

RUN_TESTS = """
from daytona_sdk import Daytona

daytona = Daytona()
sandbox = daytona.create()
result = sandbox.process.code_run('pip install pytest')
print(result.exit_code)
for test_code in ("def test_a():\\n    assert 1 + 1 == 2\\n", "def test_b():\\n    assert 1 + 1 == 3\\n"):
    # Upload test file
    sandbox.fs.upload_file(test_code.encode('utf-8'), "test_tool.py")
    # Run pytest
    result = sandbox.process.code_run('python -m pytest test_tool.py -v')
    success = "FAILED" not in result.result and "ERROR" not in result.result
    print(success, result.exit_code)
sandbox.delete()
"""


@pytest.mark.parametrize("program", [QUICK_START, ASYNC_QUICK_START], ids=["sync", "async"])
def test_the_quick_start_runs_as_written(local: LocalPlace, tmp_path: Path, program: str) -> None:
    done = local.run(program, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("Hello from Daytona!\n\n", "", 0)
    assert list(tmp_path.iterdir()) == []
    assert local.hello()["sandboxes"] == 0


def test_the_second_program_uses_the_server_of_the_first(local: LocalPlace, tmp_path: Path) -> None:
    local.run(QUICK_START, tmp_path)
    before = local.hello()["pid"]
    local.run(QUICK_START, tmp_path)
    assert local.hello()["pid"] == before


def test_the_core_concepts_run_as_written(local: LocalPlace, tmp_path: Path) -> None:
    done = local.run(CORE_CONCEPTS, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("all true\n", "", 0)


@pytest.mark.thorough
def test_dependencies_and_tests_run_as_written(local: LocalPlace, tmp_path: Path) -> None:
    done = local.run(RUN_TESTS, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("0\nTrue 0\nFalse 1\n", "", 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "program", [QUICK_START, ASYNC_QUICK_START, CORE_CONCEPTS], ids=["sync", "async", "core"]
)
def test_the_same_programs_talk_to_a_server_elsewhere(
    local: LocalPlace, tmp_path: Path, server: Server, program: str
) -> None:
    local.end()
    asked = program.replace("your-api-key", server.key)
    done = local.run(asked, tmp_path, DAYTONA_API_URL=server.url, DAYTONA_API_KEY=server.key)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout in ("Hello from Daytona!\n\n", "all true\n")
    with pytest.raises(OSError, match=r"No such file|refused"):
        local.hello()  # nothing was started here


def test_a_wrong_key_is_said_in_a_sentence(local: LocalPlace, tmp_path: Path, server: Server) -> None:
    done = local.run(QUICK_START, tmp_path, DAYTONA_API_URL=server.url)
    assert "DaytonaAuthenticationError: Failed to create sandbox: a valid API key is needed" in done.stderr


def test_the_key_may_come_from_dotenv(local: LocalPlace, tmp_path: Path, server: Server) -> None:
    (tmp_path / ".env").write_text(f"DAYTONA_API_KEY={server.key}\n")
    done = local.run(CORE_CONCEPTS, tmp_path, DAYTONA_API_URL=server.url)
    assert (done.stdout, done.stderr) == ("all true\n", "")


@pytest.mark.thorough
def test_a_url_in_dotenv_sends_nothing_there(local: LocalPlace, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DAYTONA_API_URL=http://127.0.0.1:9/api\nDAYTONA_API_KEY=k\n")
    done = local.run(QUICK_START, tmp_path)
    assert done.returncode == 1
    assert "DAYTONA_API_URL in .env is ignored" in done.stderr  # a warning, which is an error in this run
    done = local.run(f"import warnings\nwarnings.simplefilter('ignore')\n{QUICK_START}", tmp_path)
    assert done.stdout == "Hello from Daytona!\n\n"


@pytest.mark.thorough
def test_the_server_that_died_is_started_again(local: LocalPlace, tmp_path: Path) -> None:
    program = """
import os, signal, time
from daytona_sdk import Daytona

with Daytona() as daytona:
    kept = daytona.create()
    kept.fs.upload_file(b"kept", "file")
    pid = int(input())
    os.kill(pid, signal.SIGKILL)
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.01)
    with daytona.create() as sandbox:
        print(sandbox.process.code_run("print('again')").result)
    kept.refresh_data()
    print(kept.state)
    kept.start()
    print(kept.fs.download_file("file"))
    kept.delete()
"""
    local.run(QUICK_START, tmp_path)
    program = program.replace("int(input())", str(local.hello()["pid"]))
    done = local.run(program, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("again\n\nstopped\nb'kept'\n", "", 0)
