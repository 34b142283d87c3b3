"""Events of OpenHands, one by one or as the `history` of a record; an observation names its action by `cause`."""

from typing import Any

from sea.formats.run import Format, Record, Run, text_of

_TALK = frozenset(
    ("message", "think", "finish", "system", "null", "recall", "agent_state_changed", "change_agent_state")
)


def feed(run: Run, record: Record) -> None:
    """Read a record with a history."""
    run.id = str(record.get("instance_id") or record.get("id") or "")
    run.about(record.get("instruction"))
    if isinstance(record.get("success"), bool):
        run.correct = record["success"]
    for event in _events(record["history"]):
        feed_event(run, event)
    run.status = "error" if record.get("error") else "ok"


def _events(history: list[Any]) -> list[Record]:
    """Events in order; older files hold pairs of an action and its observation."""
    return [
        e for item in history for e in (item if isinstance(item, list) else [item]) if isinstance(e, dict)
    ]


def feed_event(run: Run, event: Record) -> None:
    """Read one event."""
    if event.get("action"):
        _action(run, event)
    elif event.get("observation"):
        _observation(run, event)


def _action(run: Run, event: Record) -> None:
    action, given = str(event["action"]), event.get("args")
    given = given if isinstance(given, dict) else event
    if action == "message":
        if event.get("source", "user") == "user":
            run.about(given.get("content"))
    elif action not in _TALK:
        _entry(run, action, given, None if event.get("id") is None else str(event["id"]))


def _entry(run: Run, kind: str, given: Record, key: str | None) -> None:
    if isinstance(given.get("command"), str) and kind == "run":
        run.shell(given["command"], key=key)
    elif isinstance(given.get("code"), str) and kind == "run_ipython":
        run.program(given["code"], key=key)
    else:
        plain = {
            k: v for k, v in given.items() if k not in ("thought", "action", "content") or kind == "write"
        }
        run.call(kind, plain, key=key)


def _observation(run: Run, event: Record) -> None:
    kind = str(event["observation"])
    if kind in _TALK:
        return
    given = event.get("extras") if isinstance(event.get("extras"), dict) else event
    assert given is not None
    failed = kind == "error" or given.get("exit_code", 0) not in (0, -1, None)
    output, cause = text_of(event.get("content")), event.get("cause")
    key = None if cause is None else str(cause)
    asked = any(not entry.known and (key is None or entry.key == key) for entry in run.entries)
    if not asked:  # older histories keep the observation only, which repeats the command
        _entry(run, kind, {k: v for k, v in given.items() if k != "observation"}, key)
    run.result(key, output, failed)


FORMAT = Format(
    "OpenHands history",
    lambda record: isinstance(record.get("history"), list) and any(map(is_event, _events(record["history"]))),
    feed,
)


def is_event(record: Record) -> bool:
    """Whether a record is one event."""
    return isinstance(record.get("action", record.get("observation")), str) and bool(
        {"args", "content", "extras"} & record.keys()
    )


LINES = Format("OpenHands events, one a line", is_event, feed_event, lambda _: "")
