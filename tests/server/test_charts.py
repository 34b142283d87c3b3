"""Charts: what a program shows with matplotlib comes back beside its output, out of band and within bounds."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.server.conftest import Box
from tidepool.toolbox.charts import MAX_CHARTS, parse_charts

PYPLOT = """
import importlib, os
from matplotlib.axes import Axes

class Axes(Axes):
    patches = containers = collections = ()
    def get_title(self): return "T"
    class _Line:
        def get_label(self): return "a"
        def get_xydata(self): return [[1, 2], [3, float("nan")], [4, 5]]
    lines = [_Line()]
    class _Axis:
        converter = None
        def get_label_text(self): return "L"
        def get_ticklocs(self): return [1.0, 2.0]
        def get_ticklabels(self): return []
        def get_scale(self): return "linear"
    xaxis = yaxis = _Axis()

class Figure:
    axes = [Axes()]
    def savefig(self, file, format): file.write(b"PNG")

def show():
    backend = os.environ.get("MPLBACKEND", "")
    if backend:
        importlib.import_module(backend.removeprefix("module://")).show()
    else:
        print("the genuine one")
def get_fignums(): return [1]
def figure(number): return Figure()
def close(which): pass
"""
"""As much of matplotlib as is looked at, for tests without an index."""
PLOT = "import matplotlib.pyplot as plt\nprint('before')\nplt.show()\nprint('after')"


PACKAGE = {
    "__init__": "",
    "axes": "class Axes:\n    def bxp(self, stats): return {}",
    "backends/__init__": "",
    "backends/backend_agg": "class FigureCanvasAgg: pass",
    "pyplot": PYPLOT,
}


@pytest.fixture
def plotting(box: Box) -> Box:
    """A sandbox that can import such a matplotlib."""
    for name, text in PACKAGE.items():
        content = ("file", "f", text.encode())
        assert box.toolbox.upload("/files/upload", content, path=f"matplotlib/{name}.py").status == 200
    return box


def code_run(box: Box, code: str, **more: Any) -> dict[str, Any]:
    answer = box.toolbox.call("POST", "/process/code-run", {"code": code, "language": "python", **more})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


@pytest.mark.parametrize(("envs", "basis"), [({}, "fork"), ({"PYTHONFOO": "1"}, "exec")])
def test_a_shown_figure_is_an_artifact_and_not_in_the_output(
    plotting: Box, envs: dict[str, str], basis: str
) -> None:
    answer = code_run(plotting, PLOT, envs=envs)
    assert (answer["exitCode"], answer["result"], answer["basis"]) == (0, "before\nafter\n", basis)
    [chart] = answer["artifacts"]["charts"]
    assert base64.b64decode(chart["png"]) == b"PNG"
    assert (chart["type"], chart["title"], chart["x_label"], chart["x_scale"]) == ("line", "T", "L", "linear")
    assert chart["elements"] == [{"label": "a", "points": [[1.0, 2.0], [4.0, 5.0]]}]


def test_a_child_that_shows_does_not_write_into_what_is_its_parents(plotting: Box) -> None:
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PLOT!r}])"
    answer = code_run(plotting, code)
    assert "artifacts" not in answer
    assert answer["result"] == "before\nthe genuine one\nafter\n"


def test_a_fork_that_shows_is_not_the_run(plotting: Box) -> None:
    code = "import os, matplotlib.pyplot as plt\nif os.fork():\n    os.wait()\nelse:\n    plt.show()"
    answer = code_run(plotting, code)
    assert ("artifacts" in answer, answer["result"]) == (False, "the genuine one\n")


def test_a_child_on_the_slower_path_does_not_write_either(plotting: Box) -> None:
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PLOT!r}])"
    answer = code_run(plotting, code, envs={"PYTHONFOO": "1"})
    assert ("artifacts" in answer, answer["result"]) == (False, "before\nafter\n")


def test_a_run_without_charts_has_no_artifacts(box: Box) -> None:
    assert "artifacts" not in code_run(box, "print(1)")


@pytest.mark.parametrize(
    "said",
    [b"nonsense\n", b'{"chart": {"type": "evil"}}\n', b"\xff\n", b'{"chart": {"type":' + b"[" * 9999 + b"\n"],
)
def test_what_is_no_chart_is_left_out_and_the_run_is_as_it_was(box: Box, said: bytes) -> None:
    answer = code_run(box, f"import os\nos.write(4, {said!r})\nraise SystemExit(3)")
    assert (answer["exitCode"], answer.get("artifacts", {"charts": []})) == (3, {"charts": []})


def test_the_charts_of_one_run_are_bounded() -> None:
    line = b'{"chart": {"type": "line"}}\n'
    assert len(parse_charts(line * (MAX_CHARTS + 5))) == MAX_CHARTS
    [chart, *rest] = parse_charts(line + b'{"chart": {"type": "line", "title": 5}}\n' + line)
    assert (chart.type, rest) == ("line", [])
    many = json.dumps({"chart": {"type": "line", "x_ticks": [1] * 10_001}}).encode()
    assert parse_charts(many) == []
    assert parse_charts(b'{"chart": {"type": "line", "x_ticks": [NaN]}}') == []
    assert msgspec.to_builtins(parse_charts(line)) == [{"type": "line", "elements": []}]


REAL = """
import matplotlib.pyplot as plt
plt.plot([1, 2], [3, 4], label="a"); plt.title("T"); plt.xlabel("X"); plt.yscale("log"); plt.show()
plt.bar(["p", "q"], [3, 4]); plt.show()
plt.scatter([1, 2], [3, 4]); plt.show()
plt.pie([1, 3], labels=["u", "v"]); plt.show()
plt.boxplot([[1, 2, 3, 4, 50], [2, 3, 4]]); plt.show()
figure, (left, right) = plt.subplots(1, 2); left.plot([1, 2]); right.bar(["z"], [1]); figure.suptitle("S"); plt.show()
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("envs", [{}, {"PYTHONFOO": "1"}], ids=["fork", "exec"])
def test_each_kind_of_figure_of_the_real_matplotlib(
    make_box: Callable[..., Box], envs: dict[str, str]
) -> None:
    box = make_box(tidepool={"dependencies": ["matplotlib"]})
    answer = code_run(box, REAL, envs=envs)
    assert answer["result"] == "done\n"
    line, bar, scatter, pie, boxes, composite = answer["artifacts"]["charts"]
    assert all(
        base64.b64decode(chart["png"]).startswith(b"\x89PNG") for chart in answer["artifacts"]["charts"]
    )
    assert (line["type"], line["title"], line["x_label"], line["y_scale"]) == ("line", "T", "X", "log")
    assert line["elements"] == [{"label": "a", "points": [[1.0, 3.0], [2.0, 4.0]]}]
    assert (bar["type"], bar["x_scale"]) == ("bar", "categorical")
    assert bar["elements"][1] == {"label": "q", "group": "", "value": "4"}
    assert (scatter["type"], scatter["elements"][0]["points"]) == ("scatter", [[1.0, 3.0], [2.0, 4.0]])
    assert (pie["type"], pie["elements"][0]) == ("pie", {"label": "u", "angle": 90.0, "radius": 1.0})
    assert (boxes["type"], boxes["elements"][0]["outliers"]) == ("box_and_whisker", [50.0])
    assert [boxes["elements"][0][key] for key in ("min", "first_quartile", "median", "third_quartile", "max")] == [
        1.0, 2.0, 3.0, 4.0, 4.0,
    ]  # fmt: skip
    assert (composite["type"], composite["title"]) == ("composite_chart", "S")
    assert [part["type"] for part in composite["elements"]] == ["line", "bar"]
