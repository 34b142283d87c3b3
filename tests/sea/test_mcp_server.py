"""The MCP server with the official client: tools are listed with their schemas, calls run in sandboxes."""

import ast
import asyncio
import json
import sys
from pathlib import Path

import pytest

from sea.library import Library
from tests.conftest import Server

pytestmark = pytest.mark.timeout(300)
mcp = pytest.importorskip("mcp", reason="the package `mcp` is not installed")


def test_an_official_client_lists_and_calls(server: Server, evolved, tmp_path):
    library = Library(tmp_path / "shelf")
    library.replace_all(evolved[0].admitted)
    name = library.active()[0]
    case = json.loads((library.directory / name / "spec.json").read_text())["test_cases"][0]
    given = {key: ast.literal_eval(text) for key, text in case["input"].items()}
    listed, good, bad, unknown = asyncio.run(_talk(server, library.directory, name, given))
    assert [tool.name for tool in listed.tools] == library.active()
    assert listed.tools[0].input_schema["properties"].keys() == given.keys()
    assert not good.is_error, good
    assert good.content[0].text == case["expected_output"]
    assert bad.is_error
    assert "no parameter 'colour'" in bad.content[0].text
    assert unknown.is_error
    assert library.uses()[name].calls == 1
    assert library.uses()[name].saved_tokens > 0
    events = [json.loads(line) for line in (library.directory / "events.jsonl").read_text().splitlines()]
    assert [event["attributes"]["ok"] for event in events] == [True, False]


async def _talk(server: Server, library: Path, name: str, given: dict):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    sea = str(Path(sys.executable).with_name("sea"))
    parameters = StdioServerParameters(command=sea, args=["mcp", str(library)], env=server.environment)
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        return (
            await session.list_tools(),
            await session.call_tool(name, given),
            await session.call_tool(name, {"colour": 1}),
            await session.call_tool("nothing", {}),
        )
