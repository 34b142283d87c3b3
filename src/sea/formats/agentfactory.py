"""Trajectories of AgentFactory: a `question`, answers that ask for an action, and the action's result."""

import re

from sea.formats.run import Format, Record, Run, dicts, mapping, text_of

_PARAMS = re.compile(r"<params>(.*?)</params>", re.S)


def feed(run: Run, record: Record) -> None:
    """Read a trajectory."""
    run.about(record["question"])
    asked = ""
    for step in dicts(record["trajectory"]):
        if not step.get("action"):
            asked = next(iter(_PARAMS.findall(text_of(step.get("content")))), "")
            continue
        given = mapping(step["action"])
        result = step.get("result")
        failed = isinstance(result, dict) and result.get("success") is False
        name = given.pop("action", given.pop("input", step.get("type")))
        run.call(name, given or asked.strip(), output=result, error=failed)
        asked = ""


FORMAT = Format("AgentFactory trajectory", lambda r: {"question", "trajectory"} <= r.keys(), feed)
