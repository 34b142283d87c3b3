"""`@pytest.mark.needs("user_namespace", …)`: tests that stand on a feature of this host's kernel.

Where one is missing the test is skipped with the reason, which is printed; where TIDEPOOL_MUST_WORK names it, the test
fails instead, so that a wall which silently disappeared cannot be passed over.
"""

import functools
import os
from collections.abc import Mapping, Sequence

import pytest

from tidepool.cli import runtimes
from tidepool.engine.kernel import probe
from tidepool.engine.spawner import rootless

MUST_WORK = "TIDEPOOL_MUST_WORK"


@functools.cache
def found() -> Mapping[str, probe.Feature]:
    """Every feature by name; tried once."""
    features = probe.features() if os.geteuid() == 0 else rootless.features()
    return {feature.name: feature for feature in (*features, *runtimes.features())}


def must_work(text: str) -> frozenset[str]:
    """The names in a comma-separated list.

    Raises:
        pytest.UsageError: One is no feature: a typo would demand nothing.
    """
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if unknown := names - set(found()):
        raise pytest.UsageError(
            f"{MUST_WORK} names {', '.join(sorted(unknown))}; the features are {', '.join(found())}"
        )
    return names


def judge(
    needed: Sequence[str], features: Mapping[str, probe.Feature], demanded: frozenset[str]
) -> tuple[str, str]:
    """What to do with a test, `run`, `skip` or `fail`, and why."""
    if unknown := [name for name in needed if name not in features]:
        return "fail", f"needs {', '.join(unknown)}, which is no feature of this probe"
    missing = [features[name] for name in needed if not features[name].works]
    if not missing:
        return "run", ""
    why = "; ".join(
        f"{feature.name} does not work here ({feature.detail}): {feature.enable}" for feature in missing
    )
    return "fail" if demanded & {feature.name for feature in missing} else "skip", why


def check(item: pytest.Item) -> None:
    """Skip or fail a test that cannot run here."""
    needed = [str(name) for marker in item.iter_markers("needs") for name in marker.args]
    if needed:
        carry_out(*judge(needed, found(), must_work(os.environ.get(MUST_WORK, ""))))


def carry_out(verdict: str, why: str) -> None:
    """Let a test's setup end as it was judged."""
    if verdict == "skip":
        pytest.skip(why)
    if verdict == "fail":
        pytest.fail(why, pytrace=False)
