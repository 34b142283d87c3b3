"""OpenTelemetry spans with GenAI attributes, OTLP or plain, joined by trace; `execute_tool` is a call."""

from typing import Any

from sea.formats.run import Entry, Format, Record, Run, mapping, parsed

_ONE = ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue")


def attributes(record: Record) -> Record:
    """A span's attributes by full dotted name, whatever form they stand in."""
    given = record.get("attributes")
    if isinstance(given, list):
        return {str(item["key"]): _value(item.get("value")) for item in given}
    found: Record = {}
    _flatten("", given if isinstance(given, dict) else {}, found)
    prefix = "attributes."
    for key, value in record.items():
        if key.startswith(prefix):
            _flatten(key.removeprefix(prefix), value, found)
    return found


def _value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "arrayValue" in value:
        return [_value(item) for item in value["arrayValue"].get("values", [])]
    if "kvlistValue" in value:
        return {item["key"]: _value(item.get("value")) for item in value["kvlistValue"].get("values", [])}
    return next((value[key] for key in _ONE if key in value), None)


def _flatten(prefix: str, value: Any, found: Record) -> None:
    found[prefix] = value
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), inner, found)


def span_ids(record: Record) -> tuple[str, str, str]:
    """Trace, span and parent of a span; the parent is empty at the root."""
    context = record.get("context") or record.get("spanContext") or {}
    trace = (
        record.get("traceId") or record.get("trace_id") or context.get("trace_id") or context.get("traceId")
    )
    span = record.get("spanId") or record.get("span_id") or context.get("span_id") or context.get("spanId")
    parent = record.get("parentSpanId") or record.get("parent_id") or record.get("parent_span_id")
    return str(trace or ""), str(span or ""), str(parent or "")


def started(record: Record) -> str:
    """When a span began, as text that sorts by time."""
    value = str(record.get("startTimeUnixNano") or record.get("start_time") or "")
    return value.zfill(24) if value.isdigit() else value


def failed(record: Record) -> bool:
    """Whether a span ended in an error."""
    status = record.get("status") or record.get("status_code") or {}
    code = status.get("code", status.get("status_code")) if isinstance(status, dict) else status
    return str(code) in ("2", "ERROR", "STATUS_CODE_ERROR")


def feed(run: Run, record: Record) -> None:
    """Read one span."""
    found, (trace, _, parent) = attributes(record), span_ids(record)
    run.id = trace
    operation = found.get("gen_ai.operation.name")
    if operation == "execute_tool" or (operation is None and "gen_ai.tool.name" in found):
        name = found.get("gen_ai.tool.name") or str(record["name"]).removeprefix("execute_tool ")
        given, output = found.get("gen_ai.tool.call.arguments"), found.get("gen_ai.tool.call.result")
        run.call(name, given, output=output, error=failed(record), at=started(record))
    if not parent and failed(record):
        run.status = "error"
    history = [*_messages(found, "input"), *_messages(found, "output")]
    _read(run, history)
    run.about(found.get("gen_ai.prompt") or found.get("gen_ai.prompt.0.content"))


def _messages(found: Record, side: str) -> list[Record]:
    messages = parsed(found.get(f"gen_ai.{side}.messages"))
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def _read(run: Run, messages: list[Record]) -> None:
    """What the model was asked, and which calls it wanted; each span repeats the history, so a call counts once."""
    for message in messages:
        for part in message.get("parts") or [{"type": "text", "content": message.get("content")}]:
            kind, key = part.get("type"), part.get("id")
            if kind == "text" and message.get("role") == "user":
                run.about(part.get("content"))
            wanted = next((entry for entry in run.spare if key is not None and entry.key == key), None)
            if kind == "tool_call" and (key is None or wanted is None):
                run.spare.append(Entry(str(part["name"]), mapping(part.get("arguments")), key=key))
            elif kind == "tool_call_response" and wanted is not None:
                wanted.output = part.get("response", part.get("result"))


def _is_span(record: Record) -> bool:
    return ("attributes" in record or any(key.startswith("attributes.") for key in record)) and any(
        key.startswith("gen_ai.") for key in attributes(record)
    )


FORMAT = Format("OpenTelemetry GenAI spans", _is_span, feed, lambda record: span_ids(record)[0])
