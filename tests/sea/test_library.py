"""The shelf: whole or not at all, the same bytes for the same tools, and never a person's folder."""

import os

import pytest

from sea.library import Library, NoLibrary


def test_files_of_a_tool_and_its_index(evolved):
    library = evolved[1]
    for name in library.names():
        assert {"tool.py", "test_tool.py", "spec.json", "evidence.json"} == {
            entry for entry in os.listdir(library.directory / name) if entry != "__pycache__"
        }
    assert not [entry for entry in os.listdir(library.directory) if entry.startswith(".")]


def test_a_person_s_folder_is_never_touched(evolved, tmp_path):
    admitted = evolved[0].admitted
    for entry in ("mine", "notes"):
        (tmp_path / entry).mkdir()
        (tmp_path / entry / "tool.py").write_text("mine = 1\n")
    (tmp_path / "notes" / "evidence.json").write_text('{"made_by": "me"}')
    shelf = Library(tmp_path)
    shelf.replace_all(admitted)
    shelf.replace_all(admitted[1:])
    shelf.replace_all([])
    assert shelf.names() == []
    for entry in ("mine", "notes"):
        assert (tmp_path / entry / "tool.py").read_text() == "mine = 1\n"


def test_a_name_that_is_taken_stops_everything(evolved, tmp_path):
    admitted = evolved[0].admitted
    taken = tmp_path / admitted[-1][0].spec.name
    taken.mkdir()
    (taken / "tool.py").write_text("mine = 1\n")
    with pytest.raises(NoLibrary, match="was not made by sea and is left alone"):
        Library(tmp_path).replace_all(admitted)
    assert os.listdir(tmp_path) == [taken.name]
    assert os.listdir(taken) == ["tool.py"]


def test_tools_that_are_not_admitted_again_go(evolved, tmp_path):
    admitted = evolved[0].admitted
    shelf = Library(tmp_path)
    shelf.replace_all(admitted)
    assert len(shelf.names()) == len(admitted)
    shelf.replace_all(admitted[:1])
    assert shelf.names() == [admitted[0][0].spec.name]
    text = (tmp_path / "__init__.py").read_text()
    assert text.count("import ") == 1


def test_what_is_not_there_is_a_sentence(evolved, tmp_path):
    with pytest.raises(NoLibrary, match="no library here"):
        Library(tmp_path).names()
    with pytest.raises(NoLibrary, match="no tool 'nothing'; there are: "):
        evolved[1].source("nothing")
