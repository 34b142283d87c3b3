"""Build contexts: what their tars hold, what patterns match, and what is refused; and where COPY puts it."""

from pathlib import Path

import pytest

from tests.images import tars
from tidepool.images.contexts import Tree
from tidepool.images.copying import placed
from tidepool.images.errors import BadImage


def tree(place: Path, *layers: bytes) -> Tree:
    """A context of these tars."""
    paths = []
    for number, data in enumerate(layers):
        paths.append(place / f"{number}.tar")
        paths[-1].write_bytes(data)
    return Tree(paths)


ENTRIES: tuple[tars.Entry, ...] = (
    ("./src/a.py", b"a"),
    ("src/b.txt", b"b"),
    ("src/deep/c.py", b"c"),
    ("src/link", "link:a.py"),
    ("/top.txt", b"t"),
    ("we[i]rd", b"w"),
)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("src", ["src"]),
        (".", [""]),
        ("src/*.py", ["src/a.py"]),
        ("*", ["src", "top.txt", "we[i]rd"]),
        ("/src/?.*", ["src/a.py", "src/b.txt"]),
        ("src/[ab].*", ["src/a.py", "src/b.txt"]),
        ("src/[!a].*", ["src/b.txt"]),
        ("src/*/c.py", ["src/deep/c.py"]),
        ("none", []),
        ("src/a.py/", ["src/a.py"]),
        ("[", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, names: list[str]) -> None:
    with tree(tmp_path, tars.layer(*ENTRIES)) as found:
        assert [entry.name for entry in found.match(pattern)] == names


def test_a_pattern_that_climbs_is_refused(tmp_path: Path) -> None:
    with tree(tmp_path, tars.layer(*ENTRIES)) as found, pytest.raises(BadImage):
        found.match("../x")


def test_a_later_tar_wins_and_content_is_its_own(tmp_path: Path) -> None:
    with tree(tmp_path, tars.layer(("f", b"old")), tars.layer(("f", b"new"), zipped=True)) as found:
        assert b"".join(found.match("f")[0].chunks()) == b"new"


def test_hard_links_have_the_content_of_what_they_are_links_of(tmp_path: Path) -> None:
    with tree(tmp_path, tars.layer(("f", b"content"), ("g", "hard:f"))) as found:
        assert b"".join(found.match("g")[0].chunks()) == b"content"


@pytest.mark.parametrize(
    "data",
    [
        b"no tar",
        tars.layer(("../x", b"1")),
        tars.layer(("p", "fifo")),
        tars.layer(("a", b"1"), ("a/b", b"2")),
        tars.layer(("g", "hard:none")),
        tars.layer(("a", b"x" * 9000))[:3000],
    ],
)
def test_damage_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadImage):
        tree(tmp_path, data)


def test_the_digest_is_of_names_modes_and_contents(tmp_path: Path) -> None:
    made = [
        tars.layer(("d/f", b"1")),
        tars.layer(("other", b""), ("d/f", b"1")),
        tars.layer(("d/f", b"2")),
        tars.layer(("d/g", b"1")),
        tars.layer(("d/f", b"1"), mode=0o600),
    ]
    found = []
    for number, data in enumerate(made):
        (tmp_path / str(number)).mkdir()
        with tree(tmp_path / str(number), data) as one:
            found.append(one.digest(one.match("d")))
    assert found[0] == found[1]
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("pattern", "destination", "is_directory", "paths"),
    [
        (
            "src",
            "/app",
            False,
            ["/app", "/app/a.py", "/app/b.txt", "/app/deep", "/app/deep/c.py", "/app/link"],
        ),
        ("src/a.py", "/app", False, ["/app"]),
        ("src/a.py", "/app", True, ["/app/a.py"]),
        ("src/a.py", "/", True, ["/a.py"]),
        ("src/deep", "/", True, ["/", "/c.py"]),
    ],
)
def test_where_copy_puts_things(
    tmp_path: Path, pattern: str, destination: str, is_directory: bool, paths: list[str]
) -> None:
    with tree(tmp_path, tars.layer(*ENTRIES)) as found:
        assert [one.path for one in placed(found, found.match(pattern), destination, is_directory)] == paths
