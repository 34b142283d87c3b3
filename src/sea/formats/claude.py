"""Sessions of Claude Code: JSON lines, one event each, joined by `sessionId`; side chains are runs of their own."""

from sea.formats.run import Format, Record, Run, text_of

_NOTES = frozenset(("summary", "file-history-snapshot", "progress", "system", "queue-operation"))


def feed(run: Run, record: Record) -> None:
    """Read one event."""
    run.id = group(record) or ""
    message = record.get("message")
    if record["type"] not in ("user", "assistant") or message is None:
        return
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content:
        if part["type"] == "text" and message["role"] == "user" and not record.get("isMeta"):
            run.about(part["text"])
        elif part["type"] == "tool_use" and part["name"] == "Bash":
            run.shell(part["input"]["command"], key=part["id"])
        elif part["type"] == "tool_use":
            run.call(part["name"], part["input"], key=part["id"])
        elif part["type"] == "tool_result":
            run.result(part["tool_use_id"], text_of(part.get("content")), bool(part.get("is_error")))


def group(record: Record) -> str | None:
    """The session; None for lines that belong to none."""
    session = record.get("sessionId")
    if session is None or record.get("type") in _NOTES:
        return None
    return f"{session}/{record.get('agentId', 'side')}" if record.get("isSidechain") else str(session)


FORMAT = Format(
    "Claude Code session",
    lambda r: (
        "type" in r and ({"sessionId", "uuid"} <= r.keys() or (r["type"] in _NOTES and "role" not in r))
    ),
    feed,
    group,
)
