"""Calls of protocol section 6.1: exec, code_run, sessions, logs."""


async def check_exec(x):
    result = await x(x.box.process.exec, "echo out; exit 3")
    assert (result.exit_code, result.result.strip()) == (3, "out")


async def check_exec_in_directory_with_environment(x):
    result = await x(x.box.process.exec, "pwd; echo $NAME", cwd="/tmp", env={"NAME": "va lue"})
    assert result.result.split("\n")[:2] == ["/tmp", "va lue"]


async def check_exec_timeout(x):
    error = await x.raises(
        ["DaytonaProcessExecutionTimeoutError", "DaytonaTimeoutError", "DaytonaError"],
        x.box.process.exec,
        "echo partial; sleep 30",
        timeout=1,
    )
    assert "timeout" in str(error).lower() or "timed out" in str(error).lower(), str(error)


async def check_code_run(x):
    result = await x(x.box.process.code_run, "import sys\nprint('hi', sys.argv[1:])")
    assert (result.exit_code, result.result.strip()) == (0, "hi []")


async def check_code_run_with_arguments_and_environment(x):
    params = x.module.CodeRunParams(argv=["one", "two"], env={"NAME": "value"})
    code = "import os, sys\nprint(sys.argv[1:], os.environ['NAME'])"
    result = await x(x.box.process.code_run, code, params)
    assert result.result.strip() == "['one', 'two'] value"


async def check_code_run_exit_code(x):
    result = await x(x.box.process.code_run, "raise SystemExit(7)")
    assert result.exit_code == 7


async def check_a_shell_line_is_no_silent_success(x):
    result = await x(x.box.process.code_run, "python hello.py")
    assert result.exit_code != 0
    assert "ERROR" in result.result


async def check_relative_paths_meet(x):
    await x(x.box.fs.upload_file, b"print('from file')", "hello.py")
    assert (await x(x.box.process.exec, "python3 hello.py")).result.strip() == "from file"
    code = "exec(open('hello.py').read())"
    assert (await x(x.box.process.code_run, code)).result.strip() == "from file"


async def check_javascript(x):
    made = await x.fresh(language="javascript")
    try:
        result = await x(made.process.code_run, "console.log(1 + 1); process.exit(4)")
        assert (result.exit_code, result.result.strip()) == (4, "2")
    finally:
        await x(made.delete)


async def check_session_keeps_state(x):
    await x(x.box.process.create_session, "state")
    try:
        run = x.module.SessionExecuteRequest
        await x(
            x.box.process.execute_session_command,
            "state",
            run(command="cd /tmp; export NAME=kept; f() { echo func; }"),
        )
        found = await x(x.box.process.execute_session_command, "state", run(command="pwd; echo $NAME; f"))
        # Older clients hand on the marks that stand before each stream.
        assert found.output.replace("\x01", "").split() == ["/tmp", "kept", "func"], found.output
        assert found.exit_code == 0
        failed = await x(x.box.process.execute_session_command, "state", run(command="ls /none"))
        assert failed.exit_code == 2
        command = await x(x.box.process.get_session_command, "state", failed.cmd_id)
        assert (command.id, command.exit_code) == (failed.cmd_id, 2)
        session = await x(x.box.process.get_session, "state")
        assert len(session.commands) == 3
        assert "state" in [one.session_id for one in await x(x.box.process.list_sessions)]
    finally:
        await x(x.box.process.delete_session, "state")
    assert "state" not in [one.session_id for one in await x(x.box.process.list_sessions)]


async def check_session_async_command_and_logs(x):
    await x(x.box.process.create_session, "later")
    try:
        request = x.module.SessionExecuteRequest(
            command="echo begun; echo wrong >&2; sleep 0.5; echo ended", run_async=True
        )
        begun = await x(x.box.process.execute_session_command, "later", request)
        assert (await x(x.box.process.get_session_command, "later", begun.cmd_id)).exit_code is None
        seen, wrong = [], []
        follow = x.need("process.get_session_command_logs_async")
        await x(follow, "later", begun.cmd_id, seen.append, wrong.append)
        assert "".join(seen).split() == ["begun", "ended"], seen
        assert "".join(wrong).split() == ["wrong"], wrong
        command = await x(x.box.process.get_session_command, "later", begun.cmd_id)
        assert command.exit_code == 0
        logs = await x(x.box.process.get_session_command_logs, "later", begun.cmd_id)
        assert "ended" in (getattr(logs, "output", None) or logs)
    finally:
        await x(x.box.process.delete_session, "later")


async def check_session_input(x):
    send = x.need("process.send_session_command_input")
    await x(x.box.process.create_session, "input")
    try:
        request = x.module.SessionExecuteRequest(command="read line; echo got $line", run_async=True)
        begun = await x(x.box.process.execute_session_command, "input", request)
        await x.sleep(0.3)
        await x(send, "input", begun.cmd_id, "words")
        for _ in range(100):
            command = await x(x.box.process.get_session_command, "input", begun.cmd_id)
            if command.exit_code is not None:
                break
            await x.sleep(0.05)
        logs = await x(x.box.process.get_session_command_logs, "input", begun.cmd_id)
        assert "got words" in (getattr(logs, "output", None) or str(logs))
    finally:
        await x(x.box.process.delete_session, "input")


async def check_a_session_twice_is_a_conflict(x):
    await x(x.box.process.create_session, "twice")
    try:
        await x.raises(["DaytonaConflictError", "DaytonaError"], x.box.process.create_session, "twice")
    finally:
        await x(x.box.process.delete_session, "twice")


async def check_there_is_no_entrypoint(x):
    await x.raises(["DaytonaNotFoundError", "DaytonaError"], x.need("process.get_entrypoint_session"))
