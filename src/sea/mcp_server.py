"""A library as an MCP server over stdio, by the official `mcp` package (2.x). Each call runs in a sandbox of its own.

Nothing of a tool is executed in this process; when no sandbox can be had the call is answered with an error.
"""

import asyncio
from typing import Any

from sea import observe
from sea.box import Box, Job, NoSandbox
from sea.library import Library, NoLibrary
from sea.normalise import cost
from sea.schema import Tool, call_of, tools_of

_RESULT = "_result"


def run_tool(tool: Tool, given: dict[str, Any], box: Box) -> tuple[str, bool]:
    """Call a tool in a sandbox: its value as Python text, or what went wrong, and whether it went well."""
    try:
        job = Job(f"{_RESULT} = {call_of(tool, given)}", _RESULT, tool.source)
        needed = [package for package in ("numpy", "sympy") if package in tool.source]
        ran = box.run_all([job], needed)[0]
    except (ValueError, NoSandbox) as error:
        return str(error), False
    return (
        (ran.answer, True) if ran.ok and ran.answer is not None else (ran.error or "it gave no value", False)
    )


def saved(tool: Tool, given: dict[str, Any]) -> int:
    """Tokens that a call saves: the tool's definition does not have to be written, the call does."""
    return cost(tool.source) - cost(call_of(tool, given))


def server(library: Library, box: Box) -> Any:
    """The server, ready to be run.

    Raises:
        NoLibrary: There is no library, or the `mcp` package is not installed.
    """
    try:
        from mcp import types
        from mcp.server.lowlevel import Server
    except ImportError:
        raise NoLibrary("the MCP server needs the package `mcp`; install tidepool[mcp]") from None
    tools = {tool.name: tool for tool in tools_of(library)}
    hints = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

    async def listed(_: Any, __: Any) -> types.ListToolsResult:
        shown = [
            types.Tool(name=t.name, description=t.description, input_schema=t.parameters, annotations=hints)
            for t in tools.values()
        ]
        return types.ListToolsResult(tools=shown)

    async def called(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool, given = tools.get(params.name), params.arguments or {}
        if tool is None:
            text, good = f"no tool {params.name!r}", False
        else:
            with observe.span(f"execute_tool {tool.name}", **_attributes(tool.name)) as attributes:
                text, good = await asyncio.to_thread(run_tool, tool, given, box)
                attributes["ok"] = good
            if good:
                library.note_use(tool.name, saved(tool, given))
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=not good)

    return Server("sea", on_list_tools=listed, on_call_tool=called)


def _attributes(name: str) -> dict[str, str]:
    return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}


def serve(library: Library, box: Box) -> None:
    """Serve until the client goes.

    Raises:
        NoLibrary: There is no library, or the `mcp` package is not installed.
    """
    made = server(library, box)
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        async with stdio_server() as (read, write):
            await made.run(read, write, made.create_initialization_options())

    with observe.logged(library.directory / observe.EVENTS):
        asyncio.run(run())
