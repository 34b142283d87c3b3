"""Interpreter contexts in a real sandbox: what stays, what ends a run, and what a context says when it has died."""

import gc
import time
import weakref
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pytest

from tests.security.conftest import EngineThread, own_engine
from tidepool.engine import Sandbox, SandboxSpec
from tidepool.engine.errors import InvalidSpec, NotFound, WrongState
from tidepool.toolbox import interpreter
from tidepool.toolbox.interpreter import Context, ContextDied, Contexts, Ended, Event, Failure, Output

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]
NOTHING: Mapping[str, str] = MappingProxyType({})


@pytest.fixture(scope="module")
def host() -> Iterator[EngineThread]:
    """An engine of this module's own."""
    with own_engine("tidepool-contexts-") as thread:
        yield thread


@pytest.fixture(scope="module")
def box(host: EngineThread) -> Sandbox:
    """One sandbox for all of them; it ends with the engine."""
    return host.sandbox()


@pytest.fixture
def contexts(host: EngineThread, box: Sandbox) -> Iterator[Contexts]:
    """The sandbox's contexts; those a test made are deleted after it."""
    found = host.run(_contexts(box))
    yield found
    for context in found.list():
        host.run(found.delete(context.id))


async def _contexts(box: Sandbox) -> Contexts:
    return interpreter.contexts_of(box)


@pytest.fixture
def context(host: EngineThread, contexts: Contexts) -> Context:
    """A fresh context."""
    return host.run(contexts.create())


def run(
    host: EngineThread,
    context: Context,
    code: str,
    timeout_s: float | None = 20.0,
    envs: Mapping[str, str] = NOTHING,
) -> list[Event]:
    """All events of a run."""

    async def collect() -> list[Event]:
        return [event async for event in context.execute(code, envs, timeout_s)]

    return host.run(collect())


def written(events: list[Event], stream: str = "stdout") -> str:
    return "".join(event.text for event in events if isinstance(event, Output) and event.stream == stream)


def test_names_stay_in_a_context_and_are_its_own(
    host: EngineThread, contexts: Contexts, context: Context
) -> None:
    assert run(host, context, "x = 4\nx + 1") == [Output("stdout", "5\n"), Ended("completed")]
    assert written(run(host, context, "print(x)")) == "4\n"
    other = host.run(contexts.create())
    failure = run(host, other, "x")[0]
    assert isinstance(failure, Failure)
    assert failure.name == "NameError"
    assert [found.id for found in contexts.list()] == [context.id, other.id]


def test_all_a_run_wrote_comes_before_its_end(host: EngineThread, context: Context) -> None:
    code = "import os\nprint('é' * 200_000)\nos.system('echo sub; echo err >&2')\nprint('last', end='')"
    events = run(host, context, code)
    assert written(events) == "é" * 200_000 + "\nsub\nlast"
    assert written(events, "stderr") == "err\n"
    assert events[-1] == Ended("completed")


def test_half_a_character_is_shown_as_such(host: EngineThread, context: Context) -> None:
    assert "�" in written(run(host, context, "import os\nos.write(1, b'\\xc3')\nNone"))


def test_variables_last_for_a_run(host: EngineThread, context: Context) -> None:
    code = "import os\nprint(os.environ.get('A'))"
    assert written(run(host, context, code, envs={"A": "1"})) == "1\n"
    assert written(run(host, context, code)) == "None\n"
    with pytest.raises(InvalidSpec, match="not an identifier"):
        run(host, context, code, envs={"not one": "1"})


def test_a_run_out_of_time_is_interrupted_and_the_context_lives(host: EngineThread, context: Context) -> None:
    events = run(host, context, "x = 1\nprint('on')\nwhile True: pass", timeout_s=0.3)
    assert written(events) == "on\n"
    assert events[-1] == Ended("timeout")
    assert written(run(host, context, "print(x)")) == "1\n"


def test_a_run_that_writes_without_end_is_out_of_time_too(host: EngineThread, context: Context) -> None:
    started = time.monotonic()
    events = run(host, context, "while True: print('x' * 1000)", timeout_s=0.5)
    assert time.monotonic() - started < 0.5 + interpreter.GRACE_S + 5
    assert events[-1] == Ended("timeout")
    assert written(run(host, context, "print(1)")) == "1\n"


def test_a_run_that_cannot_be_interrupted_dies_with_its_context(
    host: EngineThread, contexts: Contexts, context: Context
) -> None:
    code = "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"
    started = time.monotonic()
    end = run(host, context, code, timeout_s=0.2)[-1]
    assert time.monotonic() - started < 0.2 + interpreter.GRACE_S + 5
    assert isinstance(end, Ended)
    assert (end.how, "did not stop" in end.reason) == ("timeout", True)
    assert not context.active
    with pytest.raises(ContextDied, match="did not stop"):
        run(host, context, "1")
    assert written(run(host, contexts.get(), "print(2)")) == "2\n"


def test_a_context_whose_process_ends_says_why(host: EngineThread, contexts: Contexts) -> None:
    shared = contexts.get()
    end = run(host, shared, "import os\nos._exit(3)")[-1]
    assert isinstance(end, Ended)
    assert (end.how, end.reason) == ("died", "its process ended (exited, exit code 3)")
    assert written(run(host, contexts.get(), "print('anew')")) == "anew\n"


@pytest.mark.parametrize(
    "line", ['{"id": 99}', '{"id": 1', "[]", '{"chart": {"type": "evil"}}', '{"id": 1, "error": 5}']
)
def test_a_worker_that_lies_loses_its_context_and_nothing_else(
    host: EngineThread, contexts: Contexts, context: Context, line: str
) -> None:
    code = f"import os, time\nos.write(4, {line!r}.encode() + b'\\n')\ntime.sleep(60)"
    end = run(host, context, code, timeout_s=1.0)[-1]
    assert isinstance(end, Ended)
    assert end.how == "died"
    assert "not as agreed" in end.reason or "nothing that was asked" in end.reason
    assert written(run(host, contexts.get(), "print(1)")) == "1\n"


def test_a_reader_that_goes_interrupts_the_run(host: EngineThread, context: Context) -> None:
    async def leave() -> None:
        events = context.execute("x = 7\nprint('on')\nwhile True: pass", {}, 20.0)
        assert await anext(events) == Output("stdout", "on\n")
        await events.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its interface

    host.run(leave())
    assert written(run(host, context, "print(x)")) == "7\n"


def test_names_move_to_another_context(host: EngineThread, contexts: Contexts, context: Context) -> None:
    run(host, context, "x = [1]\ndef f(): return x\ng = (n for n in x)")
    state, lost = host.run(context.dump())
    assert lost == ["g"]
    other = host.run(contexts.create())
    assert host.run(other.load(state)) == []
    assert written(run(host, other, "print(f())")) == "[1]\n"


def test_many_names_move_in_one_piece(host: EngineThread, contexts: Contexts, context: Context) -> None:
    run(host, context, "x = bytes(20_000_000)\ny = [bytes(40_000_000)]")
    state, lost = host.run(context.dump())
    assert (len(state) > 20_000_000, lost) == (True, ["y"])  # more than is taken along of one context
    other = host.run(contexts.create())
    assert host.run(other.load(state)) == []
    assert written(run(host, other, "print(len(x))")) == "20000000\n"


def test_contexts_go_with_their_sandbox() -> None:
    sandbox = Sandbox(SandboxSpec())
    kept = weakref.ref(sandbox)
    assert interpreter.contexts_of(sandbox) is interpreter.contexts_of(sandbox)
    del sandbox
    gc.collect()
    assert kept() is None


def test_where_a_context_starts(host: EngineThread, contexts: Contexts, box: Sandbox) -> None:
    host.run(box.files.make_folder("below"))
    context = host.run(contexts.create("below"))
    assert written(run(host, context, "import os\nprint(os.getcwd())")).endswith("/below\n")
    with pytest.raises(NotFound):
        host.run(contexts.create("/not/there"))
    with pytest.raises(InvalidSpec, match="python only"):
        host.run(contexts.create(language="ruby"))


def test_the_shared_context_is_not_listed_and_cannot_be_deleted(
    host: EngineThread, contexts: Contexts
) -> None:
    assert contexts.list() == []
    with pytest.raises(InvalidSpec, match="cannot be deleted"):
        host.run(contexts.delete("default"))
    with pytest.raises(NotFound, match="other"):
        contexts.get("other")


def test_a_context_starts_also_where_nothing_may_be_forked(host: EngineThread) -> None:
    box = host.run(host.engine.create(SandboxSpec(env={"PYTHONFOO": "1"})))
    shared = host.run(_contexts(box)).get()
    assert written(run(host, shared, "x = 1\nprint(x)")) == "1\n"
    host.run(host.engine.delete(box))
    with pytest.raises(WrongState, match="destroyed"):
        run(host, shared, "x")


def test_a_context_ends_when_its_sandbox_stops(host: EngineThread, contexts: Contexts) -> None:
    box = host.sandbox()
    of_box = host.run(_contexts(box))
    made, shared = host.run(of_box.create()), of_box.get()
    for context in (made, shared):
        run(host, context, "x = 1")
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    assert not made.active
    with pytest.raises(ContextDied, match="its process ended"):
        run(host, made, "x")
    assert written(run(host, of_box.get(), "print('x' in globals())")) == "False\n"
    host.run(host.engine.delete(box))


def test_a_context_at_rest_does_not_keep_its_sandbox_busy(
    host: EngineThread, box: Sandbox, context: Context
) -> None:
    async def busy_meanwhile() -> list[int]:
        return [box.busy async for _ in context.execute("print(1)", {}, 9.0)]

    assert set(host.run(busy_meanwhile())) == {1}
    assert box.busy == 0
