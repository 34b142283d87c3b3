"""Calls of protocol sections 5.4 and 5.5: snapshots, images, volumes."""


async def check_default_snapshot_is_listed(x):
    found = await x.all(x.client.snapshot.list)
    assert any(getattr(one.state, "value", one.state) == "active" for one in found)


async def check_create_from_image_with_logs(x):
    image = x.module.Image.debian_slim("3.12").run_commands("echo built > /built.txt").env({"BUILT": "yes"})
    seen = []
    params = x.module.CreateSandboxFromImageParams(image=image)
    made = await x(x.client.create, params, timeout=120, on_snapshot_create_logs=seen.append)
    try:
        assert (await x(made.process.exec, "cat /built.txt; echo $BUILT")).result.split() == ["built", "yes"]
    finally:
        await x(made.delete)


async def check_snapshot_from_image(x):
    image = x.module.Image.base("python:3.12-slim").workdir("/srv/work").run_commands("echo x > file")
    seen = []
    params = x.module.CreateSnapshotParams(name=f"made-{x.box.id[:8]}", image=image)
    made = await x(x.client.snapshot.create, params, on_logs=seen.append, timeout=120)
    try:
        assert getattr(made.state, "value", made.state) == "active"
        assert (await x(x.client.snapshot.get, made.name)).id == made.id
        box = await x.fresh(snapshot=made.name)
        try:
            assert (await x(box.process.exec, "pwd; cat file")).result.split() == ["/srv/work", "x"]
        finally:
            await x(box.delete)
    finally:
        await x(x.client.snapshot.delete, made)


async def check_snapshot_of_a_sandbox(x):
    x.need("create_snapshot")
    await x(x.box.fs.upload_file, b"text", "in-snapshot.txt")
    name = f"of-{x.box.id[:8]}"
    await x(x.box.create_snapshot, name)
    box = await x.fresh(snapshot=name)
    try:
        assert await x(box.fs.download_file, "in-snapshot.txt") == b"text"
    finally:
        await x(box.delete)
        await x(x.client.snapshot.delete, await x(x.client.snapshot.get, name))


async def check_an_unknown_snapshot(x):
    error = await x.raises(["DaytonaError"], x.fresh, snapshot="never-made")
    assert "not found" in str(error)


async def check_volumes(x):
    name = f"volume-{x.box.id[:8]}"
    volume = await x(x.client.volume.get, name, create=True)
    assert getattr(volume.state, "value", volume.state) == "ready"
    mount = x.module.VolumeMount(volume_id=volume.id, mount_path="/home/daytona/shared")
    one, two = await x.fresh(volumes=[mount]), await x.fresh(volumes=[mount])
    try:
        await x(one.fs.upload_file, b"shared", "/home/daytona/shared/file")
        assert await x(two.fs.download_file, "/home/daytona/shared/file") == b"shared"
    finally:
        await x(one.delete)
        await x(two.delete)
    assert name in [found.name for found in await x(x.client.volume.list)]
    await x(x.client.volume.delete, volume)
