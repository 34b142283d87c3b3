"""`sea verify`: one function of a file through the gates, a line for each verdict."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from sea.box import Box, NoSandbox
from sea.gates.evidence import BadEvidence, Original, read_evidence
from sea.gates.judge import STEPS, WITHOUT_MUTATION, Judgement, judge
from sea.gates.lab import Lab

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def function_of(code: str, where: str) -> str:
    """The name of the last function of a module, which is the one that is judged.

    Raises:
        BadEvidence: There is none.
    """
    try:
        names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError) as error:
        raise BadEvidence(f"{where}: not Python: {error}") from error
    if not names:
        raise BadEvidence(f"{where}: there is no function in it to judge")
    return names[-1]


def verify_file(
    path: Path, evidence: Path, box: Box, original: Path | None = None, mutation: bool = True
) -> Judgement:
    """Judge the last function of a file.

    Raises:
        BadEvidence: A file cannot be read or holds nothing to judge by.
        NoSandbox: Nothing could be judged.
    """
    code = path.read_text()
    name = function_of(code, str(path))
    known = read_evidence(evidence, name)
    if original is not None:
        text = original.read_text()
        known = replace(known, original=Original(text, function_of(text, str(original))))
    packages = [package for package in ("numpy", "sympy") if package in code]
    return judge(code, name, known, Lab(box, packages), STEPS if mutation else WITHOUT_MUTATION)


@click.command("verify")
@click.argument("file", type=_FILE)
@click.option(
    "--evidence", required=True, type=_FILE, help="Recorded calls: JSON lines, or Python asserts (.py)."
)
@click.option("--original", type=_FILE, help="Code the function was made from, to compare with.")
@click.option("--mutation/--no-mutation", default=True, help="Whether the tests are tested too.")
@click.option("--json", "as_json", is_flag=True, help="Verdicts as one JSON object.")
def verify_command(file: Path, evidence: Path, original: Path | None, mutation: bool, as_json: bool) -> None:
    """Put the last function of FILE through the gates; exit status 1 when it is turned away."""
    try:
        found = verify_file(file, evidence, Box(), original, mutation)
    except (BadEvidence, NoSandbox) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        verdicts = [verdict.as_dict() for verdict in found.verdicts]
        click.echo(json.dumps({"accepted": found.accepted, "verdicts": verdicts}))
    for verdict in () if as_json else found.verdicts:
        click.echo(f"{'passed' if verdict.passed else 'FAILED'}  {verdict.gate}: {verdict.detail}")
    sys.exit(0 if found.accepted else 1)
