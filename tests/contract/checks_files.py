"""Calls of protocol section 6.2: the whole file system API."""

import io


async def check_upload_download(x):
    await x(x.box.fs.upload_file, b"\x00bytes\xff", "a.bin")
    assert await x(x.box.fs.download_file, "a.bin") == b"\x00bytes\xff"


async def check_upload_many_and_download_many(x):
    files = [x.module.FileUpload(source=f"text {n}".encode(), destination=f"many/{n}.txt") for n in range(3)]
    await x(x.box.fs.upload_files, files)
    wanted = [x.module.FileDownloadRequest(source=f"many/{n}.txt") for n in range(3)]
    found = await x(x.box.fs.download_files, [*wanted, x.module.FileDownloadRequest(source="many/none")])
    assert [one.result for one in found[:3]] == [b"text 0", b"text 1", b"text 2"]
    assert found[3].error


async def check_large_file(x):
    data = bytes(range(256)) * 4096 * 8
    await x(x.box.fs.upload_file, data, "large.bin")
    assert await x(x.box.fs.download_file, "large.bin") == data


async def check_folder_info_list(x):
    await x(x.box.fs.create_folder, "folder", "755")
    await x(x.box.fs.upload_file, b"12345", "folder/file.txt")
    info = await x(x.box.fs.get_file_info, "folder/file.txt")
    assert (info.name, info.size, info.is_dir) == ("file.txt", 5, False)
    found = await x(x.box.fs.list_files, "folder")
    assert [one.name for one in found] == ["file.txt"]


async def check_move_and_delete(x):
    await x(x.box.fs.upload_file, b"x", "before.txt")
    await x(x.box.fs.move_files, "before.txt", "after.txt")
    assert await x(x.box.fs.download_file, "after.txt") == b"x"
    await x(x.box.fs.delete_file, "after.txt")
    names = [one.name for one in await x(x.box.fs.list_files, ".")]
    assert "after.txt" not in names
    assert "before.txt" not in names


async def check_delete_folder(x):
    if x.version < (0, 111):
        return
    await x(x.box.fs.create_folder, "tree", "755")
    await x(x.box.fs.upload_file, b"x", "tree/inner")
    await x(x.box.fs.delete_file, "tree", recursive=True)


async def check_find_in_files(x):
    await x(x.box.fs.upload_file, b"one\nneedle here\n", "find/a.txt")
    found = await x(x.box.fs.find_files, "find", "needle")
    assert [(one.file.rsplit("/", 1)[-1], one.line, one.content.strip()) for one in found] == [
        ("a.txt", 2, "needle here")
    ]


async def check_search_by_name(x):
    await x(x.box.fs.upload_file, b"", "search/deep/b.log")
    found = await x(x.box.fs.search_files, "search", "*.log")
    assert [one.rsplit("/", 1)[-1] for one in found.files] == ["b.log"]


async def check_replace_in_files(x):
    await x(x.box.fs.upload_file, b"old old", "replace.txt")
    found = await x(x.box.fs.replace_in_files, ["replace.txt"], "old", "new")
    assert found[0].success
    assert await x(x.box.fs.download_file, "replace.txt") == b"new new"


async def check_permissions(x):
    await x(x.box.fs.upload_file, b"", "mode.txt")
    await x(x.box.fs.set_file_permissions, "mode.txt", mode="640")
    assert (await x(x.box.fs.get_file_info, "mode.txt")).permissions.endswith("640")


async def check_stream_download_with_progress(x):
    stream = x.need("fs.download_file_stream")
    await x(x.box.fs.upload_file, b"z" * 300_000, "stream.bin")
    seen = []
    found = stream("stream.bin", on_progress=seen.append)
    if x.is_async:
        found = await found if hasattr(found, "__await__") else found
        data = b"".join([piece async for piece in found])
    else:
        data = b"".join(found)
    assert data == b"z" * 300_000
    assert seen


async def check_stream_upload(x):
    upload = x.need("fs.upload_file_stream")
    await x(upload, io.BytesIO(b"y" * 300_000), "up.bin")
    assert (await x(x.box.fs.get_file_info, "up.bin")).size == 300_000


async def check_signed_urls(x):
    x.need("download_url")
    import urllib.request

    await x(x.box.fs.upload_file, b"signed", "signed.txt")
    url = await x(x.box.download_url, "signed.txt")
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"signed"
    await x(x.box.rotate_signing_key)
    fresh = await x(x.client.get, x.box.id)
    try:
        urllib.request.urlopen(url)
    except OSError:
        pass
    else:
        raise AssertionError("a URL signed with the former key still works")
    with urllib.request.urlopen(await x(fresh.download_url, "signed.txt")) as answer:
        assert answer.read() == b"signed"
