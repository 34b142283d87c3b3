"""Trajectories of SWE-agent: `trajectory` of actions and observations, the task in `history`."""

from sea.formats.run import Format, Record, Run, dicts, text_of


def feed(run: Run, record: Record) -> None:
    """Read a trajectory."""
    for step in dicts(record["trajectory"]):
        if text_of(step["action"]).strip():
            run.shell(text_of(step["action"]).strip(), step.get("observation"), known=True)
    for message in dicts(record.get("history") or []):
        if message.get("role") == "user" and not message.get("is_demo"):
            run.about(message.get("content"))
    info = record.get("info") or {}
    run.status = str(info.get("exit_status") or "ok")
    run.id = str(record.get("instance_id") or "")


def _matches(record: Record) -> bool:
    steps = record.get("trajectory")
    return (
        isinstance(steps, list)
        and bool(steps)
        and isinstance(steps[0], dict)
        and {"action", "observation"} <= steps[0].keys()
    )


FORMAT = Format("SWE-agent trajectory", _matches, feed)
