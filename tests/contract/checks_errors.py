"""Protocol section 8: the class of error a user sees."""


async def check_unknown_sandbox(x):
    await x.raises(["DaytonaNotFoundError", "DaytonaError"], x.client.get, "never-made")


async def check_missing_file(x):
    await x.raises(
        ["DaytonaFileNotFoundError", "DaytonaNotFoundError", "DaytonaError"], x.box.fs.download_file, "none"
    )


async def check_name_taken(x):
    made = await x.fresh(name="taken")
    try:
        error = await x.raises(["DaytonaConflictError", "DaytonaError"], x.fresh, name="taken")
        assert "already exists" in str(error)
    finally:
        await x(made.delete)


async def check_wrong_key(x):
    config = x.module.DaytonaConfig(api_key="wrong", api_url=_url())
    client = (x.module.AsyncDaytona if x.is_async else x.module.Daytona)(config)
    await x.raises(["DaytonaAuthenticationError", "DaytonaError"], client.create)


async def check_stopped_sandbox(x):
    made = await x.fresh()
    try:
        await x(made.stop)
        await x.raises(["DaytonaConflictError", "DaytonaError"], made.process.exec, "true")
    finally:
        await x(made.delete)


async def check_impossible_upload(x):
    await x.raises(["DaytonaError"], x.box.fs.upload_file, b"x", "/proc/none/file")


def _url():
    import os

    return os.environ["DAYTONA_API_URL"]
