"""Calls of protocol section 7.2: pseudo terminals."""


async def check_pty(x):
    create = x.need("process.create_pty_session")
    seen = []
    handle = await _open(x, create, "term", seen.append)
    try:
        assert "term" in await _listed(x)
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
    assert "term" not in await _listed(x)


async def check_kill_pty(x):
    seen = []
    handle = await _open(x, x.need("process.create_pty_session"), "doomed", seen.append)
    await x(x.box.process.kill_pty_session, "doomed")
    result = await _wait(x, handle, seen)
    await x(handle.disconnect)
    assert result.exit_code == 137, result
    assert "doomed" not in await _listed(x)


async def check_connect_again(x):
    again = x.need("process.connect_pty_session")
    first = await _open(x, x.need("process.create_pty_session"), "kept", lambda _: None)
    await x(first.send_input, "NAME=kept-$((40 + 2))\n")
    await x(first.disconnect)
    seen = []
    handle = await again("kept", on_data=_listener(seen.append)) if x.is_async else again("kept")
    await x(handle.wait_for_connection)
    await x(handle.send_input, "echo $NAME; exit\n")
    result = await _wait(x, handle, seen)
    await x(handle.disconnect)
    assert b"kept-42" in b"".join(seen), seen
    assert (result.exit_code, result.error) == (0, None), result


async def check_pty_place_and_variables(x):
    create, seen = x.need("process.create_pty_session"), []
    more = {"on_data": _listener(seen.append)} if x.is_async else {}
    handle = await x(create, id="placed", cwd="/tmp", envs={"NAME": "gr\u00fcn"}, **more)
    await x(handle.wait_for_connection)
    await x(handle.send_input, "echo $PWD-$NAME; exit\n")
    await _wait(x, handle, seen)
    await x(handle.disconnect)
    assert "/tmp-gr\u00fcn" in b"".join(seen).decode(), seen


async def _listed(x):
    found = await x(x.box.process.list_pty_sessions)
    return [one.id for one in getattr(found, "sessions", found)]  # older clients hand on the whole answer


async def _open(x, create, number, on_data):
    size = x.module.PtySize(cols=100, rows=30)
    if x.is_async:
        handle = await create(id=number, on_data=_listener(on_data), pty_size=size)
    else:
        handle = create(id=number, pty_size=size)
    await x(handle.wait_for_connection)
    return handle


def _listener(on_data):
    async def listen(data):
        on_data(data)

    return listen


async def _wait(x, handle, seen):
    return await handle.wait() if x.is_async else handle.wait(on_data=seen.append)
