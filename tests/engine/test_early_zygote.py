"""The zygote that most sandboxes come from is started with the engine, used once, and not missed when it is gone."""

import os
import signal
import time

import pytest

from tests.engine.dying import children, spawner, unsupervised, wait, zygote
from tests.security.conftest import EngineThread, own_engine

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")


def zygotes(host: EngineThread) -> list[int]:
    """The parent of each; whoever removes files for the spawner has no child."""
    return [pid for pid in children(spawner(host)) if children(pid)]


@pytest.mark.thorough
def test_the_first_sandbox_comes_from_the_zygote_that_is_there_and_the_next_tenants_from_another() -> None:
    with own_engine("tidepool-early-", pool_size=1) as host:
        assert wait(lambda: len(zygotes(host)) == 1)
        before = zygotes(host)
        box = host.sandbox(network="none")
        assert (zygotes(host), zygote(host)) == (before, 1)
        assert host.python(box, "print(1)").stdout == b"1\n"
        host.sandbox(network="none", tenant="other")
        assert wait(lambda: len(zygotes(host)) == 2)


@pytest.mark.thorough
def test_without_a_pool_nothing_is_started_before_it_is_asked_for() -> None:
    with own_engine("tidepool-early-", pool_size=0) as host:
        time.sleep(0.3)
        assert not zygotes(host)
        host.sandbox(network="none")
        assert wait(lambda: len(zygotes(host)) == 1)


@pytest.mark.thorough
def test_when_its_spawner_died_the_first_sandbox_has_another() -> None:
    with own_engine("tidepool-early-", pool_size=1) as host:
        assert wait(lambda: len(zygotes(host)) == 1)
        first = spawner(host)
        os.kill(first, signal.SIGKILL)
        assert wait(lambda: spawner(host) not in (0, first))
        assert wait(lambda: not unsupervised())
        box = host.sandbox(network="none")
        assert host.python(box, "print(1)").stdout == b"1\n"
        assert wait(lambda: len(zygotes(host)) == 1)
