"""Sandboxes of every isolation: the same behaviours, files that are the same from both sides, an honest report."""

from collections.abc import Callable, Iterator

import pytest

from tests.security.conftest import MIB, EngineThread, own_engine
from tests.selfcheck import BEHAVIOURS
from tidepool.engine import CodeRun, Command, Limits, Sandbox, SandboxSpec
from tidepool.engine.errors import InvalidSpec
from tidepool.engine.guest import oci
from tidepool.engine.isolation import INNER_WALLS, ISOLATIONS
from tidepool.engine.kernel import caps
from tidepool.engine.lifecycle import State

pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
INNER = [pytest.param(name, marks=pytest.mark.needs(name)) for name in oci.RUNTIMES]
EACH = ["namespaces", *INNER]
Make = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    with own_engine("tidepool-isolation-", pool_size=0) as thread:
        yield thread


@pytest.fixture(scope="module")
def boxes(host: EngineThread) -> Iterator[Callable[[str], Sandbox]]:
    """One sandbox of each isolation, made when it is first asked for."""
    made: dict[str, Sandbox] = {}

    def of(isolation: str) -> Sandbox:
        if isolation not in made:
            made[isolation] = host.sandbox(isolation=isolation)
        return made[isolation]

    yield of
    for box in made.values():
        host.run(host.engine.delete(box))


@pytest.fixture
def make(host: EngineThread) -> Iterator[Make]:
    made: list[Sandbox] = []

    def one(**spec: object) -> Sandbox:
        made.append(host.sandbox(**spec))
        return made[-1]

    yield one
    for box in made:
        host.run(host.engine.delete(box))


@pytest.mark.parametrize("isolation", EACH)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str, name: str) -> None:
    behaviour = BEHAVIOURS[name]
    result = host.shell(boxes(isolation), behaviour.script, behaviour.timeout_s)
    assert behaviour.holds(result), result


@pytest.mark.parametrize("isolation", INNER)
def test_files_are_the_same_from_both_sides(
    host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str
) -> None:
    box = boxes(isolation)
    assert box.files is not None
    host.run(box.files.write("from-outside/a", b"x" * 300_000))
    assert host.shell(box, "wc -c < from-outside/a; echo inside > /tmp/b").stdout == b"300000\n"
    assert host.run(box.files.read("/tmp/b")) == b"inside\n"
    assert host.run(box.files.info("/tmp/b")).uid == 1000


@pytest.mark.parametrize("isolation", INNER)
def test_a_python_text_its_input_and_its_environment(
    host: EngineThread, boxes: Callable[[str], Sandbox], isolation: str
) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['MARK'], sys.stdin.read())"
    run = CodeRun(code, argv=("a",), env={"MARK": "m"}, stdin=b"in", timeout_s=20)
    result = host.run(boxes(isolation).run_code(run))
    assert (result.exit_code, result.stdout, result.basis) == (0, b"['a'] m in\n", "exec")


@pytest.mark.parametrize("isolation", INNER)
def test_its_memory_is_bounded_and_the_reason_is_told(host: EngineThread, make: Make, isolation: str) -> None:
    box = make(isolation=isolation, limits=Limits(memory_bytes=400 * MIB, disk_bytes=64 * MIB))
    result = host.python(box, "x = bytearray(900 << 20)\nx[::4096] = b'1' * len(x[::4096])")
    assert result.verdict == "out_of_memory", result


@pytest.mark.parametrize("isolation", INNER)
def test_its_disk_is_bounded(host: EngineThread, make: Make, isolation: str) -> None:
    box = make(isolation=isolation, limits=Limits(disk_bytes=8 * MIB))
    result = host.shell(
        box, "head -c 20000000 /dev/zero > big; echo $?; rm big; echo again > small && cat small"
    )
    assert result.stdout == b"1\nagain\n", result


@pytest.mark.parametrize("isolation", INNER)
def test_a_fork_bomb_harms_only_itself(host: EngineThread, make: Make, isolation: str) -> None:
    box, sibling = make(isolation=isolation, limits=Limits(pids=200)), make()
    bomb = "import os, time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)"
    assert host.python(box, bomb, 2.0).verdict in ("timed_out", "lost", "exited", "signaled")
    assert host.shell(sibling, "echo fine").stdout == b"fine\n"


@pytest.mark.parametrize("isolation", INNER)
def test_stop_and_start_keep_its_files_and_its_isolation(
    host: EngineThread, make: Make, isolation: str
) -> None:
    box = make(isolation=isolation)
    host.shell(box, "echo kept > note")
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    assert host.shell(box, "cat note").stdout == b"kept\n"
    assert box.spec.isolation == isolation


@pytest.mark.needs("gvisor")
def test_gvisor_shows_a_kernel_of_its_own(host: EngineThread, boxes: Callable[[str], Sandbox]) -> None:
    assert (
        host.shell(boxes("gvisor"), "uname -r").stdout != host.shell(boxes("namespaces"), "uname -r").stdout
    )


@pytest.mark.needs("gvisor")
def test_a_dead_gvisor_ends_the_sandbox(host: EngineThread, make: Make) -> None:
    box = make(isolation="gvisor", user="root")
    host.run(box.exec(Command(shell="kill -9 1; sleep 5", timeout_s=10)))
    assert box.state is not State.STARTED
    assert "ended" in (box.error_reason or "")


@pytest.mark.needs("crun")
def test_what_runs_in_crun_is_filtered_as_everywhere(
    host: EngineThread, boxes: Callable[[str], Sandbox]
) -> None:
    status = host.shell(boxes("crun"), "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status").stdout.decode()
    assert status.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_what_is_not_there_is_refused_and_never_weakened(
    host: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidSpec, match="isolation is 'kata'"):
        SandboxSpec(isolation="kata")  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="needs the host's own image"):
        SandboxSpec(isolation="gvisor", image="mine")
    monkeypatch.setattr(oci, "DIRECTORIES", ("/nowhere",))
    with pytest.raises(oci.CannotStart, match="is not installed"):
        oci.find("gvisor")


@pytest.mark.needs("gvisor")
def test_a_runtime_that_does_not_start_is_refused_and_nothing_is_left(host: EngineThread, make: Make) -> None:
    before = host.engine.alive
    with pytest.raises(InvalidSpec, match="isolation gvisor cannot be had on this host: runsc: "):
        host.sandbox(isolation="gvisor", limits=Limits(pids=8))  # too few for its threads
    assert host.engine.alive == before
    assert host.shell(make(), "echo fine").stdout == b"fine\n"


def test_each_isolation_is_described_and_keeps_the_capabilities_of_init() -> None:
    assert set(ISOLATIONS) == {"namespaces", *oci.RUNTIMES} == set(INNER_WALLS)
    kept = oci.configuration({}, "/x")["process"]["capabilities"]["bounding"]
    assert {name.removeprefix("CAP_") for name in kept} == set(caps.KEPT)
