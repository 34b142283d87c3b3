"""`tidepool doctor`: what isolates on this host, what does not, and how to enable it.

The kernel's features are tried, not looked up (`engine.kernel.probe`). Nothing of a server is asked: it works where
none can start. Runtimes for a second wall are really started, by an engine that lasts no longer than that.
"""

import os
from collections.abc import Mapping, Sequence

import click

from tidepool.cli import output, runtimes, trial
from tidepool.cli.surroundings import surroundings
from tidepool.engine.kernel import probe
from tidepool.engine.spawner import rootless

MISSING = 1
"""Exit code when sandboxes cannot run here."""


@click.command()
def doctor() -> int:
    """Try every kernel feature that sandboxes stand on; exit with 1 when they cannot run on this host."""
    tried = probe.features() if os.geteuid() == 0 else rootless.features()
    found = (*tried, *surroundings())
    click.echo(report(found))
    inner = runtimes.features()
    # Only where there is one: else nothing is learned that the table has not said.
    installed = [feature.name for feature in inner if feature.works]
    status = exit_status(found)
    if installed and status == 0:
        started = trial.outcomes(installed)
    else:
        started = dict.fromkeys(installed, "not tried: sandboxes cannot run on this host")
    click.echo(inner_walls(inner, started))
    return status


def exit_status(features: Sequence[probe.Feature]) -> int:
    """0 when everything needed works, else `MISSING`."""
    return MISSING if any(feature.needed and not feature.works for feature in features) else 0


def report(features: Sequence[probe.Feature]) -> str:
    """The table, then a sentence on each thing that does not work, then the verdict."""
    rows = [[feature.name, _state(feature), feature.detail] for feature in features]
    parts = [output.table(["FEATURE", "STATE", "DETAIL"], rows)]
    for feature in features:
        if not feature.works:
            parts.append(f"{feature.name}: {feature.enable}.")
    return "\n".join([parts[0], "", *parts[1:], _verdict(features)])


def inner_walls(features: Sequence[probe.Feature], started: Mapping[str, str]) -> str:
    """A line for each isolation that a sandbox can ask for on top: what is installed, and what came of starting it."""
    return "\n".join(
        f"isolation {feature.name}: {feature.detail}; "
        + (started[feature.name] if feature.works else feature.enable)
        for feature in features
    )


def _state(feature: probe.Feature) -> str:
    if feature.works:
        return "works"
    return "MISSING" if feature.needed else "not enforced"


def _verdict(features: Sequence[probe.Feature]) -> str:
    missing = [feature.name for feature in features if feature.needed and not feature.works]
    if missing:
        return f"Sandboxes cannot run on this host: {', '.join(missing)} must work first."
    weaker = [feature.name for feature in features if not feature.works]
    if weaker:
        return f"Sandboxes run on this host, without: {', '.join(weaker)}."
    return "Sandboxes run on this host with every wall in place."
