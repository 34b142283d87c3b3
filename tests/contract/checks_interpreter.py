"""Calls of protocol section 7.3: code interpreter contexts; and the charts of code_run."""


async def check_state_persists(x):
    run = x.need("code_interpreter.run_code")
    await x(run, "value = 41")
    result = await x(run, "print(value + 1)")
    assert (result.stdout.strip(), result.error) == ("42", None)


async def check_output_is_streamed(x):
    run = x.need("code_interpreter.run_code")
    seen, wrong = [], []
    await x(
        run,
        "import sys\nprint('a')\nprint('b', file=sys.stderr)",
        on_stdout=_note(x, seen),
        on_stderr=_note(x, wrong),
    )
    assert "".join(seen).strip() == "a"
    assert "".join(wrong).strip() == "b"


async def check_errors_are_told(x):
    run = x.need("code_interpreter.run_code")
    result = await x(run, "1 / 0")
    assert (result.error.name, result.error.value) == ("ZeroDivisionError", "division by zero")
    assert "Traceback" in result.error.traceback


async def check_contexts_are_apart(x):
    run = x.need("code_interpreter.run_code")
    one = await x(x.box.code_interpreter.create_context)
    try:
        await x(run, "mine = 1", context=one)
        result = await x(run, "mine")
        assert result.error.name == "NameError"
        assert one.id in [found.id for found in await x(x.box.code_interpreter.list_contexts)]
    finally:
        await x(x.box.code_interpreter.delete_context, one)
    assert one.id not in [found.id for found in await x(x.box.code_interpreter.list_contexts)]


async def check_timeout(x):
    run = x.need("code_interpreter.run_code")
    await x.raises(["DaytonaTimeoutError"], run, "import time; time.sleep(30)", timeout=1)
    assert (await x(run, "print('alive')")).stdout.strip() == "alive"


def _note(x, seen):
    return lambda message: seen.append(message.output)
