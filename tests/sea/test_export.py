"""A library in the forms others take; each is read back by what takes it."""

import ast
import json
import subprocess
import sys

import pytest

from sea.box import Job
from sea.export import FORMATS, anthropic, export, openai
from sea.library import Library, NoLibrary
from sea.schema import call_of, tool_of

pytestmark = pytest.mark.thorough

SOURCE = '''import math


def scaled(price: int | float, words: list[str], *rest: int) -> float:
    """Return the scaled price.

    Args:
        price: A number, for example 3.
        words: Some words.
        rest: More.

    Returns:
        A float value.
    """
    return math.floor(price) * len(words) + sum(rest)
'''


def test_a_schema_is_read_off_signature_and_docstring():
    tool = tool_of(SOURCE)
    assert (tool.name, tool.description, tool.spread) == ("scaled", "Return the scaled price.", "rest")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "price": {
                "anyOf": [{"type": "integer"}, {"type": "number"}],
                "description": "A number, for example 3.",
            },
            "words": {"type": "array", "items": {"type": "string"}, "description": "Some words."},
            "rest": {"type": "array", "items": {"type": "integer"}, "description": "More."},
        },
        "required": ["price", "words"],
        "additionalProperties": False,
    }


def test_a_call_holds_literals_only():
    tool = tool_of(SOURCE)
    assert (
        call_of(tool, {"price": 2, "words": ["'); import os #"]})
        == 'scaled(price=2, words=["\'); import os #"])'
    )
    assert call_of(tool, {"words": ["a"], "rest": [1, 2], "price": 2}) == "scaled(2, ['a'], 1, 2)"
    with pytest.raises(ValueError, match="no parameter 'x=1'"):
        call_of(tool, {"price": 2, "words": [], "x=1": 2})
    with pytest.raises(ValueError, match="'words' is missing"):
        call_of(tool, {"price": 2})


def test_schemas_of_a_library(evolved):
    library = evolved[1]
    assert [t["function"]["name"] for t in openai(library)] == library.active()
    assert [t["input_schema"] for t in anthropic(library)] == [
        t["function"]["parameters"] for t in openai(library)
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_written_once(evolved, tmp_path, form):
    out = tmp_path / "out"
    for path in export(evolved[1], form, out):
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".py":
            compile(path.read_text(), str(path), "exec")
    with pytest.raises(NoLibrary, match="not an empty directory"):
        export(evolved[1], form, out)


def test_a_skill_and_the_package_give_what_was_recorded(evolved, box, tmp_path):
    library, name = evolved[1], evolved[1].active()[0]
    skills, package = tmp_path / "skills", tmp_path / "package"
    export(library, "skills", skills)
    export(library, "langchain", package)
    folder = name.replace("_", "-")
    head = (skills / folder / "SKILL.md").read_text().split("---")[1]
    assert f"name: {folder}\n" in head
    example = json.loads((library.directory / name / "spec.json").read_text())["test_cases"][0]
    values = [ast.literal_eval(text) for text in example["input"].values()]
    expected = box.run_all([Job(f"x = {name}(*{values!r})", "x", library.source(name))])[0].answer
    keys = tool_of(library.source(name)).parameters["properties"]
    with box.sandbox() as sandbox:
        for part in ("tool.py", "run.py"):
            sandbox.fs.upload_file((skills / folder / "scripts" / part).read_bytes(), part)
        text = json.dumps(dict(zip(keys, values, strict=False)))
        ran = sandbox.process.exec(f"python3 run.py '{text}'", timeout=30)
    assert repr(json.loads(ran.result)) == expected
    shown = "import tools.langchain_tools as t; print(sorted(x.name for x in t.TOOLS))"
    ended = subprocess.run(
        [sys.executable, "-c", shown],
        cwd=package / "src",
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(package / "src")},
    )
    assert ended.stdout.strip() == str(library.active()), ended.stderr


def test_a_library_without_active_tools_has_nothing_to_export(evolved, tmp_path):
    library = Library(tmp_path / "tools")
    library.replace_all(evolved[0].admitted)
    for name in library.names():
        library.mark(name, "deprecated")
    with pytest.raises(NoLibrary, match="no active tool to export"):
        export(library, "openai", tmp_path / "out")
