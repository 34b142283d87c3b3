"""Calls of protocol section 5.1 and 5.3: create, get, list, start, stop, archive, labels, intervals, resize, fork."""


def state(box):
    """A sandbox's state as text, whatever kind of enum the client has."""
    return getattr(box.state, "value", box.state)


async def check_create_answers_started(x):
    assert state(x.box) == "started"
    assert x.box.id


async def check_get_by_id_and_name(x):
    made = await x.fresh(name="by-name", env_vars={"A": "1"}, labels={"k": "v"})
    try:
        assert (await x(x.client.get, "by-name")).id == made.id
        found = await x(x.client.get, made.id)
        assert found.labels["k"] == "v"
        result = await x(found.process.exec, "echo $A")
        assert result.result.strip() == "1"
    finally:
        await x(made.delete)


async def check_list_and_filter_by_label(x):
    made = await x.fresh(labels={"wanted": "yes"})
    try:
        if hasattr(x.module, "ListSandboxesQuery"):
            found = await x.all(x.client.list, x.module.ListSandboxesQuery(labels={"wanted": "yes"}))
        else:
            found = await x.all(x.client.list, {"wanted": "yes"})
        assert [one.id for one in found] == [made.id]
    finally:
        await x(made.delete)


async def check_stop_start_keeps_files(x):
    made = await x.fresh()
    try:
        await x(made.fs.upload_file, b"text", "kept.txt")
        await x(made.stop)
        assert state(made) == "stopped"
        await x(made.start)
        assert state(made) == "started"
        assert await x(made.fs.download_file, "kept.txt") == b"text"
    finally:
        await x(made.delete)


async def check_archive_and_start_again(x):
    made = await x.fresh()
    try:
        await x(made.fs.upload_file, b"text", "kept.txt")
        await x(made.stop)
        await x(made.archive)
        await x(made.refresh_data)
        assert state(made) == "archived"
        await x(made.start)
        assert await x(made.fs.download_file, "kept.txt") == b"text"
    finally:
        await x(made.delete)


async def check_labels(x):
    await x(x.box.set_labels, {"one": "1"})
    await x(x.box.refresh_data)
    assert x.box.labels["one"] == "1"


async def check_intervals(x):
    await x(x.box.set_autostop_interval, 30)
    await x(x.box.set_auto_archive_interval, 60)
    await x(x.box.set_auto_delete_interval, 90)
    await x(x.box.refresh_data)
    assert (x.box.auto_stop_interval, x.box.auto_archive_interval) == (30, 60)
    assert x.box.auto_delete_interval == 90


async def check_ttl(x):
    x.need("set_ttl")
    await x(x.box.set_ttl, 60)


async def check_activity(x):
    x.need("refresh_activity")
    await x(x.box.refresh_activity)


async def check_resize(x):
    x.need("resize")
    made = await x.fresh()
    try:
        await x(made.resize, x.module.Resources(cpu=2, memory=2))
        await x(made.refresh_data)
        assert (made.cpu, made.memory) == (2, 2)
    finally:
        await x(made.delete)


async def check_fork(x):
    x.need("fork")
    await x(x.box.fs.upload_file, b"text", "forked.txt")
    twin = await x(x.box.fork, name="twin-of-it")
    try:
        assert await x(twin.fs.download_file, "forked.txt") == b"text"
    finally:
        await x(twin.delete)


async def check_fork_takes_names_along(x):
    x.need("fork")
    run = x.need("code_interpreter.run_code")
    await x(run, "number = 41\nopened = open('/etc/passwd')")
    twin = await x(x.box.fork, name="twin-with-names")
    try:
        result = await x(twin.code_interpreter.run_code, "print(number + 1)")
        assert result.stdout.strip() == "42", result
        lost = await x(twin.code_interpreter.run_code, "opened")
        assert lost.error.name == "NameError"
    finally:
        await x(twin.delete)


async def check_public(x):
    x.need("set_public")
    await x(x.box.set_public, True)
    await x(x.box.refresh_data)
    assert x.box.public is True


async def check_directories(x):
    home = await x(
        x.box.get_user_home_dir if hasattr(x.box, "get_user_home_dir") else x.box.get_user_root_dir
    )
    assert home == "/home/daytona"
    if hasattr(x.box, "get_work_dir"):
        assert await x(x.box.get_work_dir) == "/home/daytona"


async def check_delete(x):
    made = await x.fresh()
    await x(made.delete)
    ours = await x.all(x.client.list)
    assert made.id not in [one.id for one in ours]


async def check_ephemeral(x):
    made = await x.fresh(ephemeral=True) if x.version > (0, 111) else await x.fresh(auto_delete_interval=0)
    await x(made.stop)
    assert made.id not in [one.id for one in await x.all(x.client.list)]
