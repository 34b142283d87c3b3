"""Spans in the event log, and the page made of them."""

import json
import xml.etree.ElementTree as ET

import pytest

from sea import observe
from sea.library import Library
from sea.report import bars, funnel_of, line, page


def test_spans_nest_and_errors_are_noted(tmp_path):
    path = tmp_path / "events.jsonl"
    with observe.logged(path), observe.span("outer", tool="x") as noted:
        noted["found"] = 3
        with pytest.raises(ValueError, match="bad"), observe.span("inner"):
            raise ValueError("bad")
    inner, outer = observe.events(path)
    assert (inner["span"], inner["parent"], inner["error"]) == ("inner", outer["id"], "ValueError: bad")
    assert (outer["parent"], outer["error"], outer["attributes"]) == (None, None, {"tool": "x", "found": 3})
    with observe.span("nobody listens"):
        assert len(observe.events(path)) == 2


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    (tmp_path / "e").write_text('{"span": "a"}\n{"span": ')
    assert [event["span"] for event in observe.events(tmp_path / "e")] == ["a"]
    assert observe.events(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "svg", [bars([]), bars([("<b>", 3.0), ("c", -1)]), line([1]), line(list(range(2000)))]
)
def test_plots_are_well_formed(svg):
    assert ET.fromstring(svg).tag.endswith("svg")


def test_the_page_shows_what_was_recorded_and_nothing_else(evolved, tmp_path):
    library = Library(tmp_path / "tools")
    library.replace_all(evolved[0].admitted)
    assert "No run is in the event log." in page(library)
    with observe.logged(library.directory / observe.EVENTS), observe.span("evolve") as noted:
        noted |= {**funnel_of(evolved[0]), "turned_away": [["bad_tool", "<script>alert(1)</script>"]]}
    name = library.names()[0]
    library.note_use(name, 12)
    library.note_use(name, 30)
    text = page(library)
    assert "42 tokens saved by 2 noted calls" in text
    assert f"1 of {len(library.names())} tools called, 0 three times or more" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    for gate in library.evidence(name)["gates"]:
        assert gate["gate"] in text
    assert f">{len(evolved[0].intake.traces)}</text>" in text
    json.dumps(noted)


def test_the_same_spans_go_to_opentelemetry(tmp_path):
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    from opentelemetry import trace

    exporter, provider = memory.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    with observe.span("execute_tool add", **{"gen_ai.tool.name": "add"}) as noted:
        noted["counts"] = [1, 2]
    (found,) = exporter.get_finished_spans()
    assert found.name == "execute_tool add"
    assert dict(found.attributes) == {"gen_ai.tool.name": "add", "counts": "[1, 2]"}
