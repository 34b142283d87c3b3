"""Every trace format by its keys: calls with arguments and outputs, programs, the task; a bad record is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea.ingest import read_traces
from sea.trace import Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
ADD = {"a": 1, "b": 2}


def span(number: int, kind: dict[str, Any], parent: str = "s0") -> dict[str, Any]:
    context = {"trace_id": "run", "span_id": f"s{number}"}
    return {"name": "execute_tool add", "context": context, "parent_id": parent, "attributes": kind} | {
        "start_time": f"2026-01-01T00:00:0{number}Z"
    }


def otlp() -> dict[str, Any]:
    values = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    values |= {"gen_ai.tool.call.arguments": json.dumps(ADD), "gen_ai.tool.call.result": "3"}
    asked = [{"role": "user", "parts": [{"type": "text", "content": "Add"}]}]
    pairs = [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.input.messages": json.dumps(asked)},
        values,
    ]
    spans = [
        {
            "traceId": "run",
            "spanId": f"s{n}",
            "parentSpanId": "s0" if n else "",
            "startTimeUnixNano": f"{n + 8}",
        }
        | {"attributes": [{"key": key, "value": {"stringValue": text}} for key, text in pair.items()]}
        for n, pair in enumerate(pairs)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


CLAUDE = {"sessionId": "run", "uuid": "u"}
PYTHON = "```python\nprint(1 + 2)\n```\n```output\n3\n```"
MESSAGES = [
    {"role": "user", "content": "Add"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "function": {"name": "add", "arguments": json.dumps(ADD)}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "3"},
]
HUMAN = [
    {"type": "human", "content": "Add"},
    {"type": "ai", "content": "", "tool_calls": [{"id": "c", "name": "add", "args": ADD}]},
    {"type": "tool", "tool_call_id": "c", "content": "3"},
]
SERIALISED = [
    {"lc": 1, "type": "constructor", "id": ["langchain", f"{kind}Message"], "kwargs": m}
    for kind, m in zip(("Human", "AI", "Tool"), HUMAN, strict=True)
]
CALLS: dict[str, list[Any]] = {
    "openai": [{"messages": MESSAGES, "task_id": 4}],
    "openai, a bare list": [MESSAGES],
    "openai, lines": MESSAGES,
    "langchain": [{"messages": HUMAN}],
    "langchain, serialised": [{"messages": SERIALISED}],
    "langsmith": [
        {"id": "r1", "trace_id": "run", "run_type": "tool", "name": "add", "inputs": ADD}
        | {"outputs": {"output": "3"}, "parent_run_id": "r0", "start_time": "2026-01-01T00:00:01"},
        {"id": "r0", "trace_id": "run", "run_type": "chain", "name": "agent", "inputs": {"input": "Add"}},
    ],
    "langgraph, a state": [{"values": {"messages": HUMAN}, "next": []}],
    "langsmith, a pair as message": [
        {
            "id": "r1",
            "trace_id": "r0",
            "run_type": "tool",
            "name": "add",
            "inputs": {"input": json.dumps(ADD)},
        }
        | {"outputs": {"output": "3"}, "parent_run_id": "r0"},
        {"id": "r0", "run_type": "chain", "name": "graph", "inputs": {"messages": [["user", "Add"]]}},
    ],
    "langsmith, the root only": [
        {"id": "r0", "run_type": "chain", "name": "graph", "inputs": {"messages": [HUMAN[0]]}}
        | {"outputs": {"messages": HUMAN}},
    ],
    "weave": [
        {
            "id": "w2",
            "trace_id": "run",
            "parent_id": "w1",
            "op_name": "weave:///e/p/op/add:ab1",
            "inputs": ADD,
        }
        | {"output": "3", "started_at": "2026-01-01T00:00:02"},
        {
            "id": "w1",
            "trace_id": "run",
            "parent_id": "w0",
            "op_name": "weave:///e/p/op/step:ab1",
            "inputs": {},
        }
        | {"output": "3", "started_at": "2026-01-01T00:00:01"},
        {"id": "w0", "trace_id": "run", "parent_id": None, "op_name": "weave:///e/p/op/solve:ab1"}
        | {"inputs": {"problem": "Add"}, "output": "3"},
    ],
    "opentelemetry": [otlp()],
    "openinference": [
        span(1, {"openinference.span.kind": "TOOL", "tool.name": "add", "input.value": json.dumps(ADD)})
        | {"attributes.output.value": "3"},
        span(0, {"openinference": {"span": {"kind": "AGENT"}}, "input": {"value": "Add"}}, ""),
    ],
    "claude code": [
        {"type": "summary", "summary": "words", "leafUuid": "x"},
        {"type": "user", "message": {"role": "user", "content": "Add"}, **CLAUDE},
        {"type": "assistant", **CLAUDE}
        | {
            "message": {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c", "name": "add", "input": ADD}],
            }
        },
        {"type": "user", **CLAUDE}
        | {
            "message": {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c", "content": "3"}],
            }
        },
    ],
    "openhands": [
        {"source": "user", "action": "message", "args": {"content": "Add"}, "id": 0},
        {"source": "agent", "action": "add", "args": ADD, "id": 1},
        {"source": "agent", "observation": "add", "content": "3", "cause": 1, "extras": {}, "id": 2},
    ],
    "smolagents": [
        {
            "steps": [
                {"task": "Add"},
                {"step_number": 1, "observations": "3"}
                | {"tool_calls": [{"id": "c", "function": {"name": "add", "arguments": ADD}}]},
            ]
        }
    ],
    "agentfactory": [
        {"question": "Add"}
        | {
            "trajectory": [
                {"type": "llm_response", "content": f"<params>{json.dumps(ADD)}</params>"},
                {"type": "action", "action": {"action": "add"}, "result": "3"},
            ]
        },
    ],
}


def read(path: Path, records: list[Any]) -> Trace:
    path.write_text("\n".join(map(json.dumps, records)))
    found = read_traces([path])
    assert not found.skipped
    assert len(found.traces) == 1
    return found.traces[0]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_with_its_arguments_and_output(tmp_path, name):
    trace = read(tmp_path / "t.jsonl", CALLS[name])
    assert [(a.name, a.arguments, a.output, a.error) for a in trace.actions] == [("add", ADD, "3", False)]
    assert trace.problem == "Add"


@pytest.mark.parametrize(
    "record",
    [
        {"environment": "e", "trajectory": [{"action": "ls\n", "observation": "a"}]},
        {"turn_history": {"actions": ["ls"], "observations": ["a"], "rewards": [1]}, "query": "List"},
        {"7": {"turn_history": {"actions": ["ls"], "observations": ["a"]}, "query": "List"}},
        {
            "history": [
                {"action": "run", "command": "ls"},
                {"observation": "run", "command": "ls", "content": "a"},
            ]
        },
        {"history": [{"observation": "run", "command": "ls", "content": "a", "exit_code": 0}]},
        {"history": [[{"action": "run", "args": {"command": "ls"}}, {"observation": "run", "content": "a"}]]},
        [
            {"role": "user", "content": "List"},
            {"role": "assistant", "content": "So:\n```bash\nls\n```"},
            {"role": "user", "content": "a"},
        ],
        {
            "trajectory_format": "mini-swe-agent-1.1",
            "messages": [
                {"role": "user", "content": "List"},
                {"role": "assistant", "content": "", "extra": {"actions": [{"command": "ls"}]}},
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
            ],
        },
    ],
)
def test_a_command_of_a_shell_and_what_it_gave(tmp_path, record):
    trace = read(tmp_path / "t.jsonl", [record])
    assert [(a.name, a.arguments, a.output) for a in trace.actions] == [("bash", {"command": "ls"}, "a")]


@pytest.mark.parametrize(
    "record",
    [
        {"idx": 1, "question": "Add", "code": [PYTHON], "score": [True]},
        {"problem": "Add", "solution": PYTHON},
        {"generated": "print(1 + 2)", "executed": 3, "question": "Add"},
        {"steps": [{"task": "Add"}, {"code_action": "print(1 + 2)", "observations": "Execution logs:\n3"}]},
        {
            "history": [
                {"action": "run_ipython", "code": "print(1 + 2)"},
                {"observation": "x", "content": "3"},
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "c", "function": {"name": "python", "arguments": '{"code": "print(1 + 2)"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "3\n"},
            ]
        },
    ],
)
def test_a_program_and_what_it_printed(tmp_path, record):
    step = read(tmp_path / "t.jsonl", [record]).steps[0]
    assert (step.code.strip(), step.output) == ("print(1 + 2)", "3")


@pytest.mark.parametrize("key", ["traces", "calls", "runs", "spans"])
def test_what_holds_records_is_taken_apart_and_a_record_is_not(tmp_path, key):
    one = {"code": "x = 1", key: [{"code": "y = 1"}]}
    assert read(tmp_path / "one.jsonl", [one]).steps[0].code == "x = 1"
    (tmp_path / "two.json").write_text(json.dumps({key: [one, one]}, indent=1))
    found = read_traces([tmp_path / "two.json"])
    assert [trace.source for trace in found.traces] == ["two.json#1", "two.json#2"]


def test_what_a_later_program_needs_of_an_earlier_one_is_its_imports(tmp_path):
    text = "```python\nimport math\nx = 2\n```\n```output\n\n```\n```python\nprint(math.pi)\n```\n```output\n3.1\n```"
    steps = read(tmp_path / "t.jsonl", [{"solution": text}]).steps
    assert [step.prelude for step in steps] == [(), ("import math",)]


def test_a_program_that_does_not_parse_is_kept_as_a_call(tmp_path):
    steps = [{"task": "t"}, {"code_action": "print(", "error": "no"}, {"code_action": "x = 1"}]
    trace = read(tmp_path / "t.jsonl", [{"steps": steps}])
    assert [(a.name, a.error, a.index) for a in trace.actions] == [("python", True, 0)]
    assert [(s.code, s.index) for s in trace.steps] == [("x = 1", 1)]


def test_runs_that_interleave_are_joined_by_their_ids_and_ordered_by_time(tmp_path):
    kind = {"openinference.span.kind": "TOOL"}
    spans = [span(n, kind | {"tool.name": f"t{n}"}) for n in (2, 1, 3)]
    spans[2]["context"] = {"trace_id": "other"}
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, spans)))
    found = read_traces([tmp_path / "t.jsonl"]).traces
    assert [(t.id, [a.name for a in t.actions]) for t in found] == [("run", ["t1", "t2"]), ("other", ["t3"])]


@pytest.mark.parametrize("name", CALLS)
def test_a_malformed_record_is_named_and_the_rest_is_read(tmp_path, name):
    path = tmp_path / "t.jsonl"
    bad = {"messages": [{"role": "assistant", "tool_calls": [7]}]}
    path.write_text("\n".join(map(json.dumps, [bad, *CALLS[name]])))
    found = read_traces([path])
    assert [trace.actions[0].name for trace in found.traces] == ["add"]
    assert found.skipped[0].startswith("t.jsonl:1: malformed OpenAI messages: TypeError")
    assert len(found.skipped) == 1


@pytest.mark.parametrize(
    "text", ["[[[]]]", '{"turn_history": {"actions": 3}}', '{"steps": [{"code_action": 3}, 7], "id": {}}']
)
def test_odd_shapes_become_a_sentence_and_nothing_else(tmp_path, text):
    (tmp_path / "t.jsonl").write_text(text + "\n" + json.dumps({"code": "x = 1"}))
    found = read_traces([tmp_path / "t.jsonl"])
    assert len(found.traces) + len(found.skipped) == 2


@pytest.mark.parametrize(
    ("name", "steps", "actions"),
    [
        ("agentfactory_trajectory.json", 0, 13),
        ("mini_swe_agent_local.traj.json", 0, 2),
        ("mini_swe_agent_v1_messages.traj.json", 0, 10),
        ("openhands_events_v1.json", 0, 1),
        ("openhands_output_v0.jsonl", 1, 2),
        ("swe_agent_ctf_eps.traj", 0, 14),
        ("swe_agent_default.traj", 0, 5),
        ("swe_agent_function_calling.traj", 0, 11),
        ("swe_agent_with_replay_config.traj", 0, 5),
    ],
)
def test_real_files(name, steps, actions):
    path = DATA / "trace_formats" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    found = read_traces([path])
    trace = found.traces[0]
    assert (len(trace.steps), len(trace.actions), found.skipped) == (steps, actions, [])
    assert trace.problem
    assert all(action.output is not None for action in trace.actions)
