"""Macros: support is tasks, arguments are bound by where they come from."""

import json

from sea.macros import Conversation, conversation, cover, mine


def record(task: int, user: str, booking: str) -> dict:
    messages = [
        {"role": "assistant", "tool_calls": [_call("1", "user", {"id": user})]},
        {"role": "tool", "tool_call_id": "1", "content": json.dumps({"name": user, "bookings": [booking]})},
        {"role": "assistant", "tool_calls": [_call("2", "booking", {"id": booking, "cabin": "economy"})]},
        {"role": "tool", "tool_call_id": "2", "content": "done"},
    ]
    return {"task_id": task, "messages": messages}


def _call(number: str, name: str, arguments: dict) -> dict:
    return {"id": number, "function": {"name": name, "arguments": json.dumps(arguments)}}


def test_a_bound_argument_follows_the_output():
    seen = [conversation(record(n, f"user {n}", f"B{n}")) for n in range(4)]
    macros = mine(seen)
    assert [macro.names for macro in macros] == [("user", "booking")]
    new = cover([conversation(record(9, "other", "B77"))], macros, 0.3)
    assert (new.calls, new.steps, new.unbound, new.arguments) == (2, 1, 0, 2)


def test_an_argument_from_elsewhere_is_unbound():
    macros = mine([conversation(record(n, f"user {n}", f"B{n}")) for n in range(4)])
    strange = conversation(record(9, "other", "B77"))
    calls = (strange.calls[0], type(strange.calls[1])("booking", {"id": "X", "cabin": "economy"}))
    found = cover([Conversation("9", calls)], macros, 0.3)
    assert (found.steps, found.unbound) == (1, 1)
    assert cover([Conversation("9", calls)], macros, 2.0).steps == 2


def test_four_runs_of_one_task_are_no_support():
    assert mine([conversation(record(1, f"user {n}", f"B{n}")) for n in range(4)]) == []
