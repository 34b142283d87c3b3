#!/usr/bin/env python3
"""Automatic Tool Creation from the command line, stage by stage: patterns, proposals, specifications, code, tests.

Each later stage switches the earlier ones on, and every figure that is printed is counted from this run. What
the stages do is in `sea`; here are the flags, the order, and the published JSON shapes.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from daytona_sdk import DaytonaError
from sea import evolve, generate, patterns, select, specify, verify
from sea.box import Box, NoSandbox
from sea.daytona_manager import NOTHING_RAN, DaytonaManager, SandboxResult
from sea.ingest import BadInput, read_traces
from sea.library import Library, NoLibrary
from sea.patterns import Pattern
from sea.trace import Intake
from sea.verify import Candidate

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "traces"
HIGH_PRIORITY_TOKENS = 100
"""A proposal that saves so many tokens over the traces is of high priority."""
SHOWN = 20
"""Lines printed of a long list."""
TEST_TIMEOUT = 60
"""Seconds the tests of one tool may take."""


class BadUsage(Exception):
    """The flags cannot be followed; the message says which and what to do. Exit status 2."""


# What is asked for


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The flags; each later stage switches the earlier ones on."""
    parser = argparse.ArgumentParser(description="Create tools from solver traces.")
    parser.add_argument("files", nargs="*", type=Path, help="trace files or folders; default: the examples")
    parser.add_argument("--traces", type=_count, metavar="N", help="read at most N traces")
    parser.add_argument(
        "--min-frequency", type=_count, default=3, metavar="N", help="distinct tasks of a pattern (default 3)"
    )
    parser.add_argument("--weave-project", metavar="ENTITY/PROJECT", help="read the calls of a Weave project")
    parser.add_argument("--op-name-filter", metavar="TEXT", help="only Weave calls whose op name has this")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="write the results here as JSON")
    parser.add_argument(
        "--generate-specs", action="store_true", help="observe calls in sandboxes and specify"
    )
    parser.add_argument("--generate-code", action="store_true", help="also write the tools")
    parser.add_argument("--test-in-sandbox", action="store_true", help="also test and validate the tools")
    parser.add_argument("--test-daytona", action="store_true", help="only test that a sandbox works")
    options = parser.parse_args(arguments)
    options.generate_code |= options.test_in_sandbox
    options.generate_specs |= options.generate_code
    _check(options)
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _check(options: argparse.Namespace) -> None:
    if options.min_frequency < 2:
        raise BadUsage("--min-frequency must be at least 2: what occurs in one task only does not recur")
    if options.files and options.weave_project:
        raise BadUsage("give trace files or --weave-project, not both")
    if options.op_name_filter and not options.weave_project:
        raise BadUsage(
            "--op-name-filter chooses among the calls of a Weave project; give --weave-project too"
        )
    file = options.output_file
    if file and (file.is_dir() or not os.access(file.parent, os.W_OK)):
        raise BadUsage(f"--output-file: {file} cannot be written; name a file in a folder that is there")


# Where the traces come from


def read(options: argparse.Namespace) -> Intake:
    """The traces that were asked for."""
    if not options.weave_project:
        return read_traces(options.files or [EXAMPLES], options.traces)
    records = weave_records(options.weave_project, options.op_name_filter, options.traces)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weave.jsonl")
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return read_traces([file], options.traces)


def weave_records(project: str, op_name: str | None, limit: int | None) -> list[dict[str, Any]]:
    """The root calls of a Weave project with what they called, as SEA traces.

    Raises:
        BadUsage: The weave package or a key is missing, or the project cannot be read.
    """
    if importlib.util.find_spec("weave") is None:
        raise BadUsage("--weave-project needs the weave package: pip install weave")
    if not os.environ.get("WANDB_API_KEY"):
        raise BadUsage("--weave-project needs a Weights & Biases key; set WANDB_API_KEY")
    weave = importlib.import_module("weave")
    records: list[dict[str, Any]] = []
    try:
        client = weave.init(project)
        for call in client.get_calls(filter={"trace_roots_only": True}):
            if limit is not None and len(records) >= limit:
                break
            if op_name is None or op_name in call.op_name:
                inner = client.get_calls(filter={"trace_ids": [call.trace_id]})
                records.append(record_of(call, [child for child in inner if child.id != call.id]))
    except (
        Exception
    ) as error:  # whatever another package and its server come up with is one sentence to the user
        raise BadUsage(f"the Weave project {project} cannot be read: {error}") from error
    if not records:
        raise BadUsage(f"the Weave project {project} has no call named like {op_name or 'anything'}")
    return records


def record_of(call: Any, children: Iterable[Any]) -> dict[str, Any]:
    """One Weave call and its children as a SEA trace; code is what a child was given as `code`."""
    flow: list[dict[str, str]] = []
    tools: list[str] = []
    for child in children:
        tools.append(child.op_name)
        code = dict(child.inputs).get("code")
        kind, content = ("code", str(code)) if code else ("call", _text(child.inputs))
        flow.append({"type": kind, "description": child.op_name, "content": content})
        flow.append({"type": "output", "description": child.op_name, "content": _text(child.output)})
    return {
        "trace_id": str(call.trace_id),
        "id": str(call.id),
        "problem": _text(call.inputs),
        "solution": _text(call.output),
        "tools_invoked": tools,
        "execution_flow": flow,
        "metadata": {"status": "error" if call.exception else "success", "trace_name": call.op_name},
        "started_at": str(call.started_at),
    }


def _text(value: Any) -> str:
    """A text as it is; a mapping of one text is that text; anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        texts = [item for item in value.values() if isinstance(item, str)]
        if len(texts) == 1:
            return texts[0]
    return json.dumps(value, default=str)


# The stages


class Run:
    """One run: what each stage found, in the order of the stages."""

    def __init__(self, options: argparse.Namespace, intake: Intake) -> None:
        self.options = options
        self.funnel = evolve.Funnel(intake)
        self.proposals: list[dict[str, Any]] = []
        self.code: dict[str, dict[str, Any]] = {}
        """Code results by tool name."""
        self._train, self._held_out = (patterns.load(side) for side in evolve.split(intake.traces, seed=0))

    def find_patterns(self) -> None:
        """Mine the training tasks, choose on all of them, and propose a tool per chosen pattern."""
        everything = [*self._train, *self._held_out]
        self.funnel.programs = len(everything)
        self.funnel.patterns = patterns.mine(self._train, self.options.min_frequency)
        self.funnel.chosen = select.choose(self.funnel.patterns, everything)
        taken: set[str] = set()
        self.proposals = [proposal(specify.draft(pattern, taken)) for pattern in self.funnel.chosen]

    def find_specifications(self) -> None:
        """Observe every proposed tool in rewritten programs, in sandboxes, and specify it."""
        evolve.prepare(self.funnel, self._train, self._held_out, Box(), lambda sentence: None)

    def write_code(self) -> None:
        """Write every specified tool, with its tests."""
        for candidate, _ in self.funnel.candidates:
            self.code[candidate.spec.name] = code_result(candidate)

    def test(self) -> None:
        """Run every tool's tests in a sandbox, then the gates; what passes both is saved beside the output file."""
        manager, box = DaytonaManager(), Box()
        good: list[tuple[Candidate, Pattern]] = []
        for candidate, pattern in self.funnel.candidates:
            result = self.code[candidate.spec.name]
            needed = result["dependencies"]
            tested = manager.run_code_with_tests(
                generate.tool_code(candidate.spec), needed, TEST_TIMEOUT, generate.test_code(candidate.spec)
            )
            if tested["exit_code"] == NOTHING_RAN:
                raise NoSandbox(f"{candidate.spec.name} was not tested: {tested['error']}")
            note_test(result, tested)
            if not tested["success"]:
                continue
            verify.verify(candidate, box, needed)
            result["validation"] = [verdict.as_dict() for verdict in candidate.verdicts]
            if candidate.admitted:
                good.append((candidate, pattern))
            else:
                result["save_status"] = "validation_failed"
        self._save(good)

    def _save(self, good: list[tuple[Candidate, Pattern]]) -> None:
        if self.options.output_file is None:
            return
        folder = self.options.output_file.with_name(self.options.output_file.stem + "_tools")
        status, why = "saved", ""
        try:
            Library(folder).replace_all(good)
        except (NoLibrary, OSError) as error:
            status, why = "save_error", str(error)
            print(f"the tools could not be saved: {why}", file=sys.stderr)
        for candidate, _ in good:
            result = self.code[candidate.spec.name]
            result["save_status"] = status
            result["file_path"] = str(folder / candidate.spec.name / "tool.py") if status == "saved" else None

    def as_dict(self) -> dict[str, Any]:
        """Everything in the published shapes."""
        return {
            "traces": {
                "read": len(self.funnel.intake.traces),
                "tasks": self.funnel.intake.tasks,
                "skipped": self.funnel.intake.skipped,
            },
            "patterns": [pattern.as_dict() for pattern in self.funnel.patterns],
            "proposals": self.proposals,
            "meta_analysis": self._meta(),
            "specifications": [candidate.spec.as_dict() for candidate, _ in self.funnel.candidates],
            "not_specified": [{"tool_name": name, "reason": why} for name, why in self.funnel.not_observed],
            "generated_tools": list(self.code.values()),
        }

    def _meta(self) -> dict[str, Any]:
        elsewhere = {source.task for source in self._held_out}
        confirmed = [
            pattern
            for pattern in self.funnel.chosen
            if elsewhere & {place.source.task for place in pattern.chosen_for}
        ]
        count = len(self.funnel.chosen)
        return {
            "total_patterns_found": len(self.funnel.patterns),
            "high_priority_tools": sum(one["priority"] == "high" for one in self.proposals),
            "domain_specificity": f"{count} of {len(self.funnel.patterns)} patterns are worth a tool",
            "confidence": round(len(confirmed) / count, 3) if count else 0.0,
        }


# Shapes


def proposal(drafted: specify.Draft) -> dict[str, Any]:
    """The published shape of a proposal; types are not known before calls are observed."""
    pattern = drafted.pattern
    unknown = {"type": "object", "description": "its type is observed when the tool is specified"}
    return {
        "tool_id": pattern.id,
        "tool_name": drafted.name,
        "description": "\n".join(map(ast.unparse, drafted.body)),
        "category": "computation",
        "input_schema": {name: dict(unknown) for name in drafted.parameters},
        "output_schema": dict(unknown),
        "addresses_patterns": [pattern.id],
        "priority": "high" if pattern.saving >= HIGH_PRIORITY_TOKENS else "medium",
        "priority_reasoning": f"it saves {pattern.saving} tokens, its own cost taken off",
        "example_usage": f"{drafted.name}({', '.join(drafted.parameters)})",
        "generalization_scope": f"seen in {pattern.support} distinct tasks",
    }


def code_result(candidate: Candidate) -> dict[str, Any]:
    """The published shape of a code result, before any test."""
    spec, text = candidate.spec, generate.tool_code(candidate.spec)
    return {
        "tool_code": text,
        "test_code": generate.test_code(spec),
        "tool_name": spec.name,
        "dependencies": dependencies_of(text),
        "implementation_notes": "The body is the traces' own code.",
        "specification": spec.as_dict(),
        "code_valid": is_python(text),
        "save_status": None,
        "file_path": None,
        "test_attempts": 0,
        "test_history": [],
        "final_test_result": None,
    }


def note_test(result: dict[str, Any], tested: SandboxResult) -> None:
    """Add one test run to a code result."""
    result["test_attempts"] += 1
    result["test_history"].append(
        {
            "attempt": result["test_attempts"],
            "success": tested["success"],
            "exit_code": tested["exit_code"],
            "execution_time": tested["execution_time"],
            "output": tested["output"],
            "error": tested["error"],
        }
    )
    result["final_test_result"] = dict(tested)
    if not tested["success"]:
        result["save_status"] = "test_failed"


def dependencies_of(text: str) -> list[str]:
    """Packages outside the standard library that a tool imports."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return sorted({name.partition(".")[0] for name in names} - sys.stdlib_module_names)


def is_python(text: str) -> bool:
    """Whether it parses."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


# What is said


def show(lines: list[str]) -> None:
    """Print a list, cut where it is long."""
    for line in lines[:SHOWN]:
        print(f"  {line}")
    if len(lines) > SHOWN:
        print(f"  and {len(lines) - SHOWN} more")


def say_patterns(run: Run) -> None:
    """What mining found."""
    intake, funnel = run.funnel.intake, run.funnel
    print(f"traces: {len(intake.traces)} read, of {intake.tasks} tasks, from {intake.files} file(s)")
    if intake.skipped:
        print(f"skipped: {len(intake.skipped)}")
        show(intake.skipped)
    print(
        f"patterns: {len(funnel.patterns)} in {run.options.min_frequency} or more tasks, "
        f"{len(funnel.chosen)} of them worth a tool"
    )
    proposed = zip(run.proposals, funnel.chosen, strict=True)
    show([f"{one['tool_name']}: {p.support} tasks, saves {p.saving} tokens" for one, p in proposed])


def say_specifications(run: Run) -> None:
    """What could be specified."""
    missing = run.funnel.not_observed
    print(f"specifications: {len(run.funnel.candidates)} of {len(run.proposals)}")
    show([f"{name}: none: {why[:120]}" for name, why in missing])


def say_tests(run: Run) -> None:
    """Each tool with its sandbox verdict and time, then how many of each kind."""
    tested = [result for result in run.code.values() if result["final_test_result"]]
    passed = [result for result in tested if result["final_test_result"]["success"]]
    print(f"tests: {len(passed)} of {len(tested)} tools passed in a sandbox")
    for result in tested:
        final = result["final_test_result"]
        refused = [verdict for verdict in result.get("validation", ()) if not verdict["passed"]]
        verdict = "passed" if final["success"] else f"FAILED: {final['error']}"
        if refused:
            verdict += f", then turned away: {refused[0]['gate']}: {refused[0]['detail']}"
        print(f"  {result['tool_name']}: {verdict} ({final['execution_time']:.2f} s)")
    valid = [result for result in passed if result["save_status"] != "validation_failed"]
    print(f"validated: {len(valid)} of {len(passed)}")
    saved = [result for result in valid if result["save_status"] == "saved"]
    where = f"in {Path(saved[0]['file_path']).parent.parent}" if saved else "(--output-file says where to)"
    print(f"saved: {len(saved)} {where}")


# The run


def connection() -> int:
    """Only the connection test."""
    result = DaytonaManager().test_connection()
    took = f"{result['execution_time']:.2f} s"
    if result["success"]:
        print(f"connection: passed in {took}, sandbox {result['sandbox_id']}")
        return 0
    print(f"connection: FAILED after {took}: {result['error']}", file=sys.stderr)
    return 1


def run_stages(options: argparse.Namespace) -> None:
    """All the stages that were asked for; what they found is printed as they end, and written last."""
    run = Run(options, read(options))
    run.find_patterns()
    say_patterns(run)
    if options.generate_specs:
        run.find_specifications()
        say_specifications(run)
    if options.generate_code:
        run.write_code()
        print(f"code: {sum(one['code_valid'] for one in run.code.values())} of {len(run.code)} tools parse")
    if options.test_in_sandbox:
        run.test()
        say_tests(run)
    if options.output_file:
        text = json.dumps(run.as_dict(), indent=2, ensure_ascii=False, default=str)
        options.output_file.write_text(text + "\n", encoding="utf-8")
        print(f"written: {options.output_file}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 something that was to run could not, 2 the flags or files are wrong."""
    try:
        options = parse(arguments)
        if options.test_daytona:
            return connection()
        run_stages(options)
    except (BadUsage, BadInput) as error:
        print(f"run_atc_evolution: {error}", file=sys.stderr)
        return 2
    except (NoSandbox, DaytonaError, OSError) as error:
        print(f"run_atc_evolution: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
