"""Shows one tool of a library and calls it in a sandbox with values that were recorded.

    .venv/bin/python examples/call_tool.py LIBRARY [NAME]

Without a name it takes the tool that saves most tokens. The tool is never imported here.
"""

import json
import sys
from pathlib import Path

from daytona_sdk import CreateSandboxFromSnapshotParams, Daytona

LIMIT_SECONDS = 20


def saves_most(library: Path) -> str:
    """The tool of the index that saves most tokens."""
    tools = json.loads((library / "index.json").read_text(encoding="utf-8"))["tools"]
    return max(tools, key=lambda name: (tools[name]["tokens_saved"], name))


def main(library: Path, name: str) -> int:
    """Print the source and one call; 0 if the call gave what was recorded."""
    source = (library / name / "tool.py").read_bytes()
    call = json.loads((library / name / "spec.json").read_text(encoding="utf-8"))["example_calls"][0]
    arguments = ", ".join(f"{parameter}={value}" for parameter, value in call["input"].items())
    print(source.decode())
    print(f">>> {name}({arguments})")
    with Daytona() as daytona:
        sandbox = daytona.create(CreateSandboxFromSnapshotParams(network="none"))
        try:
            sandbox.fs.upload_file(source, "tool.py")
            program = f"from tool import {name}\nprint(repr({name}({arguments})))\n"
            response = sandbox.process.code_run(program, timeout=LIMIT_SECONDS)
        finally:
            sandbox.delete()
    print(response.result, end="")
    same = response.exit_code == 0 and response.result.rstrip() == call["output"]
    print("as recorded" if same else f"but recorded is {call['output']}")
    return 0 if same else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: call_tool.py LIBRARY [NAME]")
    folder = Path(sys.argv[1])
    sys.exit(main(folder, sys.argv[2] if len(sys.argv) == 3 else saves_most(folder)))
