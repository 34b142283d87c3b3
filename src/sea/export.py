"""A library in the forms others take: schemas, LangChain, MCP, Agent Skills, a package. Text only; nothing is run.

Only active tools are exported. What an export writes goes into a directory that is new or empty, so nothing of
anybody's is overwritten.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sea.library import Library, NoLibrary
from sea.schema import Tool, tools_of

Texts = dict[str, str]
"""Path below the output directory to its text."""
_MAX_NAME, _MAX_DESCRIPTION = 64, 1024
"""Of an Agent Skill; its format's limits."""


def openai(library: Library) -> list[dict[str, Any]]:
    """Tools as OpenAI's chat completions take them."""
    return [
        {
            "type": "function",
            "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
        }
        for t in tools_of(library)
    ]


def anthropic(library: Library) -> list[dict[str, Any]]:
    """Tools as Anthropic's messages take them."""
    return [
        {"name": t.name, "description": t.description, "input_schema": t.parameters}
        for t in tools_of(library)
    ]


def _openai(library: Library, _: str) -> Texts:
    return {"tools.json": _json(openai(library))}


def _anthropic(library: Library, _: str) -> Texts:
    return {"tools.json": _json(anthropic(library))}


def _package(library: Library, name: str) -> Texts:
    """An installable package; each tool is a module and is exported by the package."""
    tools = tools_of(library)
    imports = "\n".join(f"from {name}.{tool.name} import {tool.name}" for tool in tools)
    listed = "".join(f'    "{tool.name}",\n' for tool in tools)
    needed = [
        p
        for p in ("numpy", "sympy")
        if any(f"import {p}" in t.source or f"from {p}" in t.source for t in tools)
    ]
    project = (
        f'[project]\nname = "{name.replace("_", "-")}"\nversion = "{_version(library)}"\n'
        f'description = "Validated tools"\nrequires-python = ">=3.11"\ndependencies = {json.dumps(needed)}\n\n'
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n\n'
        '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    )
    return {
        "pyproject.toml": project,
        f"src/{name}/__init__.py": f'"""Validated tools."""\n\n{imports}\n\n__all__ = [\n{listed}]\n',
        f"src/{name}/py.typed": "",
        **{f"src/{name}/{tool.name}.py": tool.source for tool in tools},
        **{f"tests/test_{tool.name}.py": _test(library, name, tool) for tool in tools},
    }


def _test(library: Library, name: str, tool: Tool) -> str:
    text = (library.directory / tool.name / "test_tool.py").read_text()
    return text.replace("from tool import", f"from {name}.{tool.name} import")


def _version(library: Library) -> str:
    """Counts changes, so that a later export is a later version."""
    return f"0.{sum(len(library.record(name)['versions']) for name in library.names())}.0"


def _langchain(library: Library, name: str) -> Texts:
    """The package, and in `langchain_tools` its tools as LangChain has them."""
    listed = "".join(
        f"    tool(parse_docstring=True)({t.name}),\n" for t in tools_of(library) if not t.spread
    )
    spread = "".join(
        f"    StructuredTool.from_function(**{_spread(t)}),\n" for t in tools_of(library) if t.spread
    )
    names = ", ".join(t.name for t in tools_of(library))
    text = (
        '"""The tools as LangChain has them."""\n\n'
        "from langchain_core.tools import BaseTool, StructuredTool, tool\n\n"
        f"from {name} import {names}\n\n\n"
        "def _spread(function, word):\n"
        '    """A function of any number of arguments as one of a list."""\n\n'
        "    def call(**given):\n"
        "        last = given.pop(word, [])\n"
        "        return function(*given.values(), *last)\n\n"
        "    return call\n\n\n"
        f"TOOLS: list[BaseTool] = [\n{listed}{spread}]\n"
    )
    files = _package(library, name)
    project = files["pyproject.toml"]
    needed = re.sub(r"dependencies = \[(.*)\]", _with_langchain, project, count=1)
    return {**files, "pyproject.toml": needed, f"src/{name}/langchain_tools.py": text}


def _with_langchain(found: re.Match[str]) -> str:
    listed = [found[1], '"langchain-core>=1.0"'] if found[1] else ['"langchain-core>=1.0"']
    return f"dependencies = [{', '.join(listed)}]"


def _spread(tool: Tool) -> str:
    fields = f'"name": {tool.name!r}, "description": {tool.description!r}, "args_schema": {tool.parameters!r}'
    return f'{{"func": _spread({tool.name}, {tool.spread!r}), {fields}}}'


def _mcp(library: Library, name: str) -> Texts:
    """The entry a client's configuration needs; `sea mcp` is the server."""
    server = {"command": "sea", "args": ["mcp", str(library.directory.resolve())]}
    return {"mcp.json": _json({"mcpServers": {name: server}})}


def _skills(library: Library, _: str) -> Texts:
    """A folder for each tool: `SKILL.md`, the tool as a script, its recorded calls as tests."""
    files: Texts = {}
    for tool in tools_of(library):
        folder = re.sub(r"[^a-z0-9]+", "-", tool.name.lower()).strip("-")[:_MAX_NAME].strip("-")
        test = (library.directory / tool.name / "test_tool.py").read_text()
        files[f"{folder}/SKILL.md"] = _skill(folder, tool)
        files[f"{folder}/scripts/tool.py"] = tool.source
        files[f"{folder}/scripts/run.py"] = _script(tool)
        files[f"{folder}/scripts/test_tool.py"] = test
    return files


def _skill(folder: str, tool: Tool) -> str:
    text = f"{tool.description} Use it when a task needs exactly this computation."
    description = re.sub(r"[<>]", "", text)[:_MAX_DESCRIPTION]
    rows = "".join(
        f"- `{name}`: {one.get('description', one.get('type', 'any value'))}\n"
        for name, one in tool.parameters["properties"].items()
    )
    required = {name: "..." for name in tool.parameters["properties"]}
    return (
        f"---\nname: {folder}\ndescription: {json.dumps(description)}\n---\n\n# {tool.name}\n\n"
        f"{tool.description}\n\nArguments, as one JSON object:\n\n{rows}\n"
        f"```sh\npython scripts/run.py '{json.dumps(required)}'\n```\n\n"
        "It prints the result as JSON. `scripts/test_tool.py` holds recorded calls.\n"
    )


def _script(tool: Tool) -> str:
    names = [name for name in tool.parameters["properties"] if name != tool.spread]
    last = f", *given.get({tool.spread!r}, [])" if tool.spread else ""
    call = f"{tool.name}(*[given[name] for name in {names!r} if name in given]{last})"
    return (
        f'"""Runs `{tool.name}` with the JSON object given as the only argument."""\n\nimport json\nimport sys\n\n'
        f"from tool import {tool.name}\n\ngiven = json.loads(sys.argv[1])\nprint(json.dumps({call}, default=repr))\n"
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Library, str], Texts]] = {
    "langchain": _langchain,
    "mcp": _mcp,
    "openai": _openai,
    "anthropic": _anthropic,
    "skills": _skills,
    "package": _package,
}


def export(library: Library, form: str, out: Path) -> list[Path]:
    """Write a library in one of `FORMATS`; the files, sorted.

    Raises:
        NoLibrary: There is no library, it has no active tool, or the output directory is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NoLibrary(f"{out} is there and is not an empty directory; choose another --out")
    if not library.active():
        raise NoLibrary(f"{library.directory}: no active tool to export")
    name = re.sub(r"\W", "_", library.directory.resolve().name.lower())
    texts = FORMATS[form](library, name if name.isidentifier() else f"tools_{name}")
    for path, text in texts.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    return sorted(out / path for path in texts)
