"""Episodes of InterCode: `turn_history` of actions, observations and rewards for one `query`."""

from sea.formats.run import Format, Record, Run, right


def feed(run: Run, record: Record) -> None:
    """Read an episode."""
    turns = record["turn_history"]
    actions, seen = turns["actions"], turns["observations"]
    valid = turns.get("valid_action") or [True] * len(actions)
    for action, observation, good in zip(actions, seen, valid, strict=True):
        run.shell(action, observation, error=good is False)
    run.about(record.get("query"))
    run.id = "" if record.get("task_id") is None else str(record["task_id"])
    run.task = run.id
    run.correct = right((record.get("summary") or {}).get("max_reward"))


FORMAT = Format("InterCode episode", lambda record: isinstance(record.get("turn_history"), dict), feed)
