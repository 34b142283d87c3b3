"""Memory of smolagents: `steps` with a task, code actions with their observations, and tool calls."""

from sea.formats.run import Format, Record, Run, dicts, mapping, text_of

_FINAL = "final_answer"


def feed(run: Run, record: Record) -> None:
    """Read a memory."""
    run.id = str(record.get("id") or "")
    run.about(record.get("task"))
    for step in dicts(record["steps"]):
        run.about(step.get("task"))
        _action(run, step)


def _action(run: Run, step: Record) -> None:
    failed = bool(step.get("error"))
    output = step.get("observations")
    if output is None:
        output = step.get("action_output")
    if step.get("code_action"):
        run.program(step["code_action"], _printed(text_of(output)), error=failed)
        return
    for made in step.get("tool_calls") or ():
        function = made.get("function", made)
        if function["name"] != _FINAL:
            run.call(function["name"], mapping(function.get("arguments")), output=output, error=failed)


def _printed(observations: str) -> str:
    """What the program printed, without the headings that the agent adds."""
    text = observations.split("Last output from code snippet:")[0]
    return text.removeprefix("Execution logs:").strip("\n")


def is_step(step: object) -> bool:
    """Whether a value is a step of a memory."""
    return isinstance(step, dict) and bool(
        {"code_action", "step_number", "model_input_messages"} & step.keys()
    )


FORMAT = Format(
    "smolagents memory",
    lambda record: isinstance(record.get("steps"), list) and any(map(is_step, record["steps"])),
    feed,
)
