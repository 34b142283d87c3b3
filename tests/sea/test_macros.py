"""Macros: support is tasks, arguments are bound by where they come from."""

import json

from sea.macros import Conversation, ceiling, conversation, cover, fitting_price, mine


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


def chat(task: int, *calls: tuple[str, dict, object]) -> Conversation:
    messages = []
    for number, (name, arguments, output) in enumerate(calls):
        messages.append({"role": "assistant", "tool_calls": [_call(str(number), name, arguments)]})
        messages.append({"role": "tool", "tool_call_id": str(number), "content": json.dumps(output)})
    return conversation({"task_id": task, "messages": messages})


def lookups(task: int, ids: list[str], looked_at: int) -> Conversation:
    looked = [("booking", {"id": one}, {"id": one}) for one in ids[:looked_at]]
    return chat(task, ("user", {"id": f"user {task}"}, {"bookings": ids}), *looked)


def test_a_loop_covers_a_list_of_any_length():
    macros = mine([lookups(n, [f"A{n}", f"B{n}"], 2) for n in range(3)])
    found = cover([lookups(9, [f"X{i}" for i in range(7)], 7)], macros, 4.0)
    assert (found.calls, found.steps, found.unbound, found.arguments) == (8, 1, 0, 7)


def test_where_a_loop_stops_early_is_one_more_argument_that_is_passed():
    macros = mine([lookups(n, [f"A{n}", f"B{n}"], 2) for n in range(3)])
    found = cover([lookups(9, [f"X{i}" for i in range(7)], 3)], macros, 0.3)
    assert (found.steps, found.unbound, found.arguments) == (1, 1, 4)


def test_what_is_never_repeated_is_no_loop():
    macros = mine([lookups(n, [f"A{n}", f"B{n}"], 1) for n in range(3)])
    assert cover([lookups(9, ["X", "Y"], 2)], macros, 4.0).steps == 2


def test_calls_of_one_tool_that_no_list_explains_are_no_loop():
    learnt = [lookups(n, [f"A{n}", f"B{n}"], 2) for n in range(3)]
    learnt += [chat(n, ("ask", {}, {}), ("note", {"text": "same"}, "done")) for n in range(3)]
    noted = [("note", {"text": "same"}, "done")] * 2
    held = chat(9, ("ask", {}, {}), *noted)
    assert cover([held], mine(learnt), 0.0).steps == 2


def change(task: int, flights: list[dict]) -> Conversation:
    kept = [{"number": one["number"], "day": one["day"]} for one in flights]
    return chat(
        task, ("booking", {"id": f"B{task}"}, {"flights": flights}), ("change", {"flights": kept}, "done")
    )


def test_some_fields_of_all_records_are_a_source():
    macros = mine([change(n, [{"number": f"F{n}", "day": n, "price": n}]) for n in range(3)])
    flights = [{"number": f"G{n}", "day": n + 9, "price": 1} for n in range(3)]
    found = cover([change(9, flights)], macros, 4.0)
    assert (found.steps, found.unbound) == (1, 0)
    other = change(9, flights)
    wrong = type(other.calls[1])(
        "change", {"flights": [{"number": "Z", "day": 1}]}, before=other.calls[1].before
    )
    assert cover([Conversation("9", (other.calls[0], wrong))], macros, 4.0).steps == 2


def test_the_price_keeps_enough_bound_on_tasks_that_were_not_mined():
    def noted(task: int) -> Conversation:
        user = ("user", {"id": f"user {task}"}, {"name": f"N{task}"})
        return chat(task, user, ("note", {"text": f"free {task * 7}"}, "done"))

    seen = [noted(n) for n in range(8)]
    covered = cover(seen, mine(seen), fitting_price(seen))
    assert (covered.compression, covered.bound) == (1.0, 1.0)
    assert cover(seen, mine(seen), 0.0).compression == 2.0


def test_the_ceiling_is_above_what_macros_do_and_below_what_nothing_binds():
    learnt = [conversation(record(n, f"user {n}", f"B{n}")) for n in range(4)]
    held = [conversation(record(9, "other", "B77"))]
    assert ceiling(held, learnt) == cover(held, mine(learnt), 4.0).compression == 2.0
    assert ceiling(held, []) == 1.0
