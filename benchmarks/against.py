"""Two commits side by side: rows of a commit in a worktree and of this tree, in the order A B B A.

The commit gets an interpreter of its own that has this environment's packages and the worktree's code: child processes
of the server start from it as well, whatever environment they are given. Worktree and interpreter end with the run.
"""

import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import percentile
from outcome import Outcome

_GIT = ("git", "-c", "advice.detachedHead=false")


def commit(root: Path) -> str:
    """The commit of a tree, and whether files differ from it; `unknown` where there is no git."""
    try:
        done = subprocess.run(
            [*_GIT, "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


@contextmanager
def worktree(root: Path, revision: str) -> Iterator[str]:
    """An interpreter that has a commit's code; it is gone with the block.

    Raises:
        SystemExit: There is no such commit.
    """
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as name:
        place = Path(name)
        place.chmod(0o755)  # servers give root up and must still come through
        tree = place / "tree"
        made = subprocess.run(
            [*_GIT, "worktree", "add", "--detach", "--quiet", str(tree), revision],
            cwd=root, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise SystemExit(
                f"scripts/bench: no worktree of {revision!r} could be made: {made.stderr.strip()}"
            )
        try:
            yield interpreter(place / "venv", tree / "src")
        finally:
            subprocess.run([*_GIT, "worktree", "remove", "--force", str(tree)], cwd=root, check=True)


def interpreter(place: Path, source: Path) -> str:
    """A virtual environment that looks for modules in `source`, then among this environment's packages."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    inside = place / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    inside.mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), place)
    # A path in a .pth file is looked at after the directory it is in; .pth files in it are not read, so that
    # this tree's own installation stays out.
    (inside / "tree.pth").write_text("\n".join([str(source), *packages, ""]))
    scripts = place / Path(sysconfig.get_path("scripts")).relative_to(sys.prefix)
    scripts.mkdir()
    for path in Path(sysconfig.get_path("scripts")).iterdir():
        if not path.name.startswith("python"):
            (scripts / path.name).symlink_to(path)
    python = scripts / "python"
    python.symlink_to(Path(sys.executable).resolve())
    seen = subprocess.run(
        [python, "-c", "import tidepool; print(tidepool.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(seen.stdout.strip()).is_relative_to(source), seen.stdout
    return str(python)


def compare(root: Path, revision: str, names: list[str], run: Callable[[str, str], Outcome]) -> int:
    """Each row as A B B A, A the commit and B this tree; prints medians, their spread, and the difference."""
    wrong = 0
    with worktree(root, revision) as other:
        pythons = {"A": other, "B": sys.executable}
        print(
            f"A is {revision}, B is this tree ({commit(root)}); ms; spread is that of one side's own two runs\n"
        )
        for name in names:
            seen: dict[str, list[Outcome]] = {"A": [], "B": []}
            try:
                for side in "ABBA":
                    print(f"# {name}, {side} …", file=sys.stderr, flush=True)
                    seen[side].append(run(name, pythons[side]))
            except RuntimeError as error:
                wrong = 1
                print(f"{name}: {error}\n")
                continue
            except KeyboardInterrupt:
                return 1
            print("\n".join([f"## {name}", *difference_lines(seen["A"], seen["B"])]), end="\n\n", flush=True)
    return wrong


def difference_lines(a: list[Outcome], b: list[Outcome]) -> list[str]:
    """A line for each way and check that both sides have."""
    lines = ["| | A | B | B/A | spread A | spread B | |", "|---|--:|--:|--:|--:|--:|---|"]
    for way in [way for way in a[0].samples if way in b[0].samples]:
        for share in (0.5, 0.99):
            sides = [[percentile(one.samples[way], share) for one in side] for side in (a, b)]
            lines.append(_difference(f"{way}, p{share * 100:g}", *sides))
    both = {one.what for one in b[0].checks}
    for what in [one.what for one in a[0].checks if one.what in both and ": p" not in one.what]:
        sides = [[next(c.value for c in one.checks if c.what == what) for one in side] for side in (a, b)]
        lines.append(_difference(what, *sides))
    return lines


def _difference(what: str, a: list[float], b: list[float]) -> str:
    """One line; a difference counts when the two sides' values do not overlap."""
    middle_a, middle_b = statistics.mean(a), statistics.mean(b)
    change = f"{middle_b / middle_a:.2f}" if middle_a else "-"
    spreads = [max(side) - min(side) for side in (a, b)]
    word = "less" if max(b) < min(a) else "more" if min(b) > max(a) else "the same within the spread"
    return f"| {what} | {middle_a:.2f} | {middle_b:.2f} | {change} | {spreads[0]:.2f} | {spreads[1]:.2f} | {word} |"
