"""Calls of protocol section 7.2: pseudo terminals."""


async def check_pty(x):
    create = x.need("process.create_pty_session")
    seen = []
    handle = await _open(x, create, "term", seen.append)
    try:
        assert "term" in [one.id for one in await x(x.box.process.list_pty_sessions)]
        info = await x(x.box.process.get_pty_session_info, "term")
        assert (info.id, info.cols, info.rows) == ("term", 100, 30)
        resized = await x(x.box.process.resize_pty_session, "term", x.module.PtySize(cols=120, rows=40))
        assert (resized.cols, resized.rows) == (120, 40)
        await x(handle.send_input, "stty size; echo marker-$((40 + 2)); exit 5\n")
        result = await _wait(x, handle, seen)
        text = b"".join(seen).decode(errors="replace")
        assert "40 120" in text, text
        assert "marker-42" in text, text
        assert result.exit_code == 5, result
    finally:
        await x(handle.disconnect)
    await x.sleep(0.2)
    assert "term" not in [one.id for one in await x(x.box.process.list_pty_sessions)]


async def check_kill_pty(x):
    handle = await _open(x, x.need("process.create_pty_session"), "doomed", lambda _: None)
    await x(x.box.process.kill_pty_session, "doomed")
    await x(handle.disconnect)


async def _open(x, create, number, on_data):
    size = x.module.PtySize(cols=100, rows=30)
    if x.is_async:
        handle = await create(id=number, on_data=_listener(on_data), pty_size=size)
    else:
        handle = create(id=number, pty_size=size)
        handle.on_test_data = on_data
    await x(handle.wait_for_connection)
    return handle


def _listener(on_data):
    async def listen(data):
        on_data(data)

    return listen


async def _wait(x, handle, seen):
    return await handle.wait() if x.is_async else handle.wait(on_data=seen.append)
