"""Macros: support is tasks, arguments are bound by where they come from."""

import json

from sea.macros import Call, Conversation, ceiling, conversation, cover, mine


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
    new = cover([conversation(record(9, "other", "B77"))], macros)
    assert (new.calls, new.steps, new.unbound, new.arguments) == (2, 1, 0, 2)


def test_an_argument_from_elsewhere_is_passed_where_enough_others_are_bound():
    macros = mine([conversation(record(n, f"user {n}", f"B{n}")) for n in range(4)])
    strange = conversation(record(9, "other", "B77"))
    calls = (
        strange.calls[0],
        Call("booking", {"id": "X", "cabin": "economy"}, before=strange.calls[1].before),
    )
    alone = [Conversation("9", calls)]
    assert cover(alone, macros).steps == 2
    found = cover([conversation(record(n, f"user {n}", f"B{n}")) for n in range(10, 14)] + alone, macros)
    assert (found.steps, found.unbound, found.arguments, found.bound) == (5, 1, 10, 0.9)
    assert found.strict == 10 / 6
    assert cover([strange, *alone], macros).steps == 3


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
    found = cover([lookups(9, [f"X{i}" for i in range(7)], 7)], macros)
    assert (found.calls, found.steps, found.unbound, found.arguments) == (8, 1, 0, 7)


def test_where_a_loop_stops_early_is_one_more_argument_that_is_passed():
    macros = mine([lookups(n, [f"A{n}", f"B{n}"], 2) for n in range(3)])
    some = [lookups(n, [f"X{i}" for i in range(7)], looked_at) for n, looked_at in ((8, 7), (9, 3))]
    found = cover(some, macros)
    assert (found.steps, found.unbound, found.arguments) == (2, 1, 11)
    assert cover(some[1:], macros).steps == 3


def test_what_is_never_repeated_is_no_loop():
    macros = mine([lookups(n, [f"A{n}", f"B{n}"], 1) for n in range(3)])
    assert cover([lookups(9, ["X", "Y"], 2)], macros).steps == 2


def test_calls_of_one_tool_that_no_list_explains_are_no_loop():
    learnt = [lookups(n, [f"A{n}", f"B{n}"], 2) for n in range(3)]
    learnt += [chat(n, ("ask", {}, {}), ("note", {"text": "same"}, "done")) for n in range(3)]
    noted = [("note", {"text": "same"}, "done")] * 2
    held = chat(9, ("ask", {}, {}), *noted)
    assert cover([held], mine(learnt)).steps == 2


def change(task: int, flights: list[dict]) -> Conversation:
    kept = [{"number": one["number"], "day": one["day"]} for one in flights]
    return chat(
        task, ("booking", {"id": f"B{task}"}, {"flights": flights}), ("change", {"flights": kept}, "done")
    )


def test_some_fields_of_all_records_are_a_source():
    macros = mine([change(n, [{"number": f"F{n}", "day": n, "price": n}]) for n in range(3)])
    flights = [{"number": f"G{n}", "day": n + 9, "price": 1} for n in range(3)]
    found = cover([change(9, flights)], macros)
    assert (found.steps, found.unbound) == (1, 0)
    other = change(9, flights)
    wrong = type(other.calls[1])(
        "change", {"flights": [{"number": "Z", "day": 1}]}, before=other.calls[1].before
    )
    assert cover([Conversation("9", (other.calls[0], wrong))], macros).steps == 2


def test_what_nothing_binds_is_left_alone():
    def noted(task: int) -> Conversation:
        user = ("user", {"id": f"user {task}"}, {"name": f"N{task}"})
        return chat(task, user, ("note", {"text": f"free {task * 7}"}, "done"))

    seen = [noted(n) for n in range(8)]
    covered = cover(seen, mine(seen))
    assert (covered.compression, covered.bound) == (1.0, 1.0)


def searches(task: int, flights: list[tuple[str, int]]) -> Conversation:
    looked = [("search", {"to": to, "day": day}, []) for to, day in flights]
    records = [{"to": to, "day": day} for to, day in flights]
    return chat(task, ("booking", {"id": f"B{task}"}, {"flights": records}), *looked)


def test_a_loop_takes_fields_of_each_record():
    macros = mine([searches(n, [(f"A{n}", n), (f"B{n}", n + 1)]) for n in range(3)])
    found = cover([searches(9, [(f"X{i}", 40 + i) for i in range(5)])], macros)
    assert (found.calls, found.steps, found.unbound, found.arguments) == (6, 1, 0, 10)


def changed(task: int, ids: list[str], pick: int) -> Conversation:
    looked = [("booking", {"id": one}, {"id": one, "card": {"number": f"card of {one}"}}) for one in ids]
    given = {"id": ids[pick], "card": f"card of {ids[pick]}"}
    return chat(task, ("user", {"id": f"user {task}"}, {"bookings": ids}), *looked, ("pay", given, "done"))


def test_a_record_is_looked_up_by_an_argument_of_its_name():
    learnt = [changed(n, [f"A{n}", f"B{n}", f"C{n}"], n % 3) for n in range(6)]
    held = [changed(9, [f"X{i}" for i in range(7)], 3), lookups(10, [f"Y{i}" for i in range(3)], 3)]
    found = cover(held, mine(learnt))
    # Which booking is passed; its card follows, though three were looked at since.
    assert (found.steps, found.unbound, found.arguments) == (2, 1, 12)


def test_arguments_that_were_each_looked_up_by_the_other_come_from_nowhere():
    def paired(task: int, pick: int) -> Conversation:
        pairs = [{"left": f"L{task}{i}", "right": f"R{task}{i}"} for i in range(4)]
        return chat(task, ("list", {}, pairs), ("join", {"way": "inner", **pairs[pick]}, "done"))

    learnt = [paired(n, n % 4) for n in range(3)]
    assert cover([paired(9, 3)], mine(learnt)).steps == 2


def test_a_place_with_the_arguments_own_name_needs_one_task_less():
    def copied(task: int, name: str, card: str) -> Conversation:
        paid = ("pay", {"card": card, "note": "x"}, "done")
        return chat(task, ("find", {"q": str(task)}, {name: f"c{task}"}), paid)

    for name, steps in (("card", 1), ("number", 2)):
        learnt = [copied(1, name, "c1"), copied(2, name, "another")]
        assert cover([copied(9, name, "c9")], mine(learnt)).steps == steps, name


def test_with_one_place_an_argument_there_is_no_choice():
    def picked(task: int, at: int) -> Conversation:
        ids = [f"I{task}{i}" for i in range(3)]
        return chat(task, ("list", {}, {"ids": ids, "first": ids[0]}), ("get", {"which": ids[at]}, "done"))

    learnt = [picked(n, at) for n, at in enumerate((0, 0, 0, 2, 2))]
    held = [picked(9, 0), picked(10, 2)]
    assert cover(held, mine(learnt)).steps == 2
    assert cover(held, mine(learnt, most=1)).steps == 3


def test_the_ceiling_is_above_what_macros_do_and_below_what_nothing_binds():
    learnt = [conversation(record(n, f"user {n}", f"B{n}")) for n in range(4)]
    held = [conversation(record(9, "other", "B77"))]
    assert ceiling(held, learnt) == cover(held, mine(learnt)).compression == 2.0
    assert ceiling(held, []) == 1.0
