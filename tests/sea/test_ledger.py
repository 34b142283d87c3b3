"""What becomes of a library's files: undone as if never done, a person's edit never lost, what does not pay retired."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sea import ledger
from sea.ledger import Change, Uses, next_state
from sea.library import Library, NoLibrary

pytestmark = pytest.mark.thorough


def tree(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_changes_are_undone_in_turn(tmp_path):
    steps = [
        {"a/x": "1", "b": "2"},
        {"a/x": None, "c/d/e": "3"},
        {"b": "4", "c/d/e": "3"},
    ]
    states = [tree(tmp_path)]
    for number, files in enumerate(steps):
        ledger.apply(tmp_path, Change(f"step {number}", files))
        states.append({k: v for k, v in tree(tmp_path).items() if not k.startswith("journal")})
    assert states[-1] == {"b": "4", "c/d/e": "3"}
    for number in (2, 1, 0):
        assert ledger.undo(tmp_path).what == f"undo step {number}"
        assert {k: v for k, v in tree(tmp_path).items() if not k.startswith("journal")} == states[number]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ledger.CannotUndo, match="nothing to undo"):
        ledger.undo(tmp_path)


def test_a_change_that_was_cut_short_is_taken_back(tmp_path):
    ledger.apply(tmp_path, Change("first", {"a": "1", "b": "1"}))
    ledger.apply(tmp_path, Change("second", {"a": "2", "b": "2"}))
    (tmp_path / "b").write_text("1")  # as if the second had ended before its second file
    ledger.undo(tmp_path)
    assert (tmp_path / "a").read_text() == "1"


def test_a_reader_never_finds_a_name_without_its_file():
    files = {"old/tool.py": None, "__init__.py": "", "new/tool.py": "", "index.json": ""}
    assert ledger.in_order(files) == ["new/tool.py", "__init__.py", "index.json", "old/tool.py"]


def test_undoing_never_loses_what_a_person_wrote(tmp_path):
    ledger.apply(tmp_path, Change("first", {"a": "1"}))
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ledger.CannotUndo, match="a was edited after `first`"):
        ledger.undo(tmp_path)
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize(
    ("state", "opportunities", "saved", "expected"),
    [
        ("active", 99, 0, "active"),
        ("active", 100, 49, "deprecated"),
        ("active", 100, 50, "active"),
        ("deprecated", 100, -5, "archived"),
        ("deprecated", 100, 50, "active"),
        ("candidate", 3, 50, "active"),
        ("candidate", 3, 0, "candidate"),
        ("archived", 100, 500, "archived"),
    ],
)
def test_what_does_not_pay_is_retired_in_two_steps(state, opportunities, saved, expected):
    assert next_state(state, opportunities, Uses(1, saved), cost=50, after=100) == expected


@pytest.fixture
def shelf(evolved, tmp_path):
    library = Library(tmp_path / "tools")
    library.replace_all(evolved[0].admitted)
    return library


def test_uses_decide_and_an_archived_tool_comes_back(shelf):
    first, *rest = shelf.names()
    for name in rest:
        shelf.note_use(name, 10_000)
    shelf.note_use(first, 1)
    before = tree(shelf.directory)
    assert Library(shelf.directory, dry_run=True).retire(after=2) == {first: "deprecated"}
    assert tree(shelf.directory) == before
    assert shelf.retire(after=2) == {first: "deprecated"}
    assert first not in shelf.active()
    assert f"import {first}" in (shelf.directory / "__init__.py").read_text()
    assert shelf.retire(after=2) == {first: "archived"}
    assert first not in shelf.names()
    assert f"import {first}" not in (shelf.directory / "__init__.py").read_text()
    assert shelf.states()[first] == "archived"
    shelf.mark(first, "active")
    assert tree(shelf.directory)[f"{first}/tool.py"] == before[f"{first}/tool.py"]
    for _ in range(3):
        shelf.undo()
    assert tree(shelf.directory) == before


def test_a_tool_that_a_person_edited_is_left_alone(shelf, evolved):
    name = shelf.names()[0]
    path = shelf.directory / name / "tool.py"
    path.write_text(path.read_text() + "# mine\n")
    shelf.replace_all([])
    assert path.read_text().endswith("# mine\n")
    assert shelf.names() == [name]
    shelf.replace_all(evolved[0].admitted)
    assert path.read_text().endswith("# mine\n")
    with pytest.raises(NoLibrary, match="edited and is left alone"):
        shelf.mark(name, "archived")


def test_an_index_that_a_person_wrote_stops_everything(shelf, evolved, tmp_path):
    (shelf.directory / "__init__.py").write_text("mine = 1\n")
    before = tree(shelf.directory)
    with pytest.raises(NoLibrary, match=r"__init__\.py was written or edited by a person"):
        shelf.replace_all([])
    assert tree(shelf.directory) == before
    (tmp_path / "__init__.py").write_text("mine = 1\n")
    with pytest.raises(NoLibrary, match=r"__init__\.py was written"):
        Library(tmp_path).replace_all(evolved[0].admitted)


def test_versions_are_the_hash_of_the_code_and_follow_each_other(shelf, evolved):
    name = shelf.names()[0]
    version = shelf.record(name)["version"]
    assert version == ledger.digest(shelf.source(name))
    shelf.replace_all([])
    shelf.replace_all(evolved[0].admitted)
    record = shelf.record(name)
    assert [v["version"] for v in record["versions"]] == [version]
    assert record["versions"][0]["trace_ids"] == shelf.evidence(name)["trace_ids"]


def test_a_state_that_was_given_stays_while_the_code_is_the_same(shelf, evolved):
    first, second, *_ = shelf.names()
    shelf.mark(first, "deprecated")
    shelf.mark(second, "archived")
    shelf.replace_all(evolved[0].admitted)
    assert (shelf.states()[first], shelf.states()[second]) == ("deprecated", "archived")
    assert second not in shelf.names()
    shelf.replace_all([])
    shelf.replace_all(evolved[0].admitted)
    assert shelf.states()[first] == "active"


def test_another_version_follows_and_the_old_one_is_kept(shelf, evolved):
    name = shelf.names()[0]
    old = shelf.source(name)
    changed = [
        (replace(c, spec=replace(c.spec, description="Now otherwise.")), p) if c.spec.name == name else (c, p)
        for c, p in evolved[0].admitted
    ]
    shelf.replace_all(changed)
    first, second = shelf.record(name)["versions"]
    assert (second["parent"], second["version"]) == (first["version"], ledger.digest(shelf.source(name)))
    assert (shelf.directory / "archive" / name / first["version"][:12] / "tool.py").read_text() == old
    shelf.undo()
    assert shelf.source(name) == old


def test_a_library_without_a_ledger_is_read_and_changed(shelf):
    for extra in ("ledger.json", "journal/000001.json"):
        (shelf.directory / extra).unlink()
    name = shelf.names()[0]
    assert shelf.active() == shelf.names()
    shelf.mark(name, "archived")
    assert name not in shelf.names()
    assert json.loads((shelf.directory / "index.json").read_text())["tools"].keys() == set(shelf.names())


def test_a_tool_whose_file_is_gone_is_a_sentence(shelf):
    (shelf.directory / shelf.names()[0] / "tool.py").unlink()
    with pytest.raises(NoLibrary, match=r"tool\.py is gone; put it back"):
        shelf.source(shelf.names()[0])


def test_a_dry_run_says_and_changes_nothing(evolved, tmp_path):
    said: list[str] = []
    Library(tmp_path / "tools", dry_run=True, say=said.append).replace_all(evolved[0].admitted)
    assert not (tmp_path / "tools").exists()
    assert "write __init__.py" in said
