"""Documents must be true: links lead somewhere, every feature has its page, every promise names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

from tests.style.source import ROOT

FEATURES = (
    "sandboxes",
    "exec",
    "code_run",
    "tests",
    "files",
    "dependencies",
    "network",
    "isolation",
    "server",
    "cli",
    "library",
    "traces",
    "evolve",
    *("sessions", "pty", "interpreter", "git", "lsp", "preview", "volumes", "snapshots"),
    *("keys", "secrets", "events"),
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_TEST_ID = re.compile(r"`(?P<file>tests/[\w/]+\.py)(?:::(?P<name>\w+(?:::\w+)?))?`")
_PROMISE = re.compile(r"^(?P<number>\d+)\. ", re.MULTILINE)


def documents() -> list[Path]:
    """Every Markdown page of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").glob("*.md")])


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_feature_has_its_page() -> None:
    assert [word for word in FEATURES if not (ROOT / "docs" / f"{word}.md").is_file()] == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.finditer(page.read_text()):
        target, _, anchor = link["target"].partition("#")
        if ":" in target:
            continue  # outside: not looked at from here
        other = (page.parent / target).resolve() if target else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(link["target"])
    assert broken == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_is_left_unfinished(page: Path) -> None:
    assert not re.search(
        r"\bTO" + r"DO\b|\bTB" + r"D\b|\bFIX" + r"ME\b|lorem ipsum", page.read_text(), re.IGNORECASE
    )


def promises() -> dict[int, str]:
    """Number to text of each promise in SPECIFICATION.md."""
    text = (ROOT / "SPECIFICATION.md").read_text()
    starts = list(_PROMISE.finditer(text))
    bounds = [start.start() for start in starts] + [len(text)]
    return {int(one["number"]): text[one.end() : bounds[place + 1]] for place, one in enumerate(starts)}


def test_promises_are_numbered_without_gaps() -> None:
    assert promises()
    assert list(promises()) == list(range(1, len(promises()) + 1))


@pytest.mark.parametrize("number", promises())
def test_every_promise_names_a_test_that_exists(number: int) -> None:
    named = list(_TEST_ID.finditer(promises()[number]))
    assert named, "the promise names no test"
    assert [one.group() for one in named if not exists(one["file"], one["name"])] == []


def exists(file: str, name: str | None) -> bool:
    """Whether a test file defines this test, or `Class::test`."""
    path = ROOT / file
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in (name or "").split("::") if name else ():
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return True


def test_decisions_are_numbered_and_titled() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert pages
    assert [page.name for page in pages if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)] == []
    assert len({page.name[:4] for page in pages}) == len(pages), "two decisions share a number"
    assert [page.name for page in pages if not page.read_text().startswith("# ")] == []
