"""Calls of protocol section 6.3 about git, on repositories inside the sandbox."""


async def _repository(x, path):
    script = (
        f"rm -rf {path} {path}.git && git init -q --bare -b main {path}.git && git clone -q {path}.git {path} 2>/dev/null"
        f" && cd {path} && git checkout -q -B main && git config user.name n && git config user.email e@x"
        " && echo one > a.txt && git add . && git commit -qm first && git push -q origin main"
    )
    result = await x(x.box.process.exec, script)
    assert result.exit_code == 0, result.result


async def check_clone_status_commit_push_pull(x):
    await _repository(x, "/tmp/origin")
    await x(x.box.git.clone, "/tmp/origin.git", "work")
    status = await x(x.box.git.status, "work")
    assert status.current_branch == "main"
    await x(x.box.fs.upload_file, b"two", "work/b.txt")
    status = await x(x.box.git.status, "work")
    assert [one.name for one in status.file_status] == ["b.txt"]
    await x(x.box.git.add, "work", ["b.txt"])
    made = await x(x.box.git.commit, "work", "second", "Somebody", "some@body")
    assert len(made.sha) == 40
    await x(x.box.git.push, "work")
    await x(x.box.git.pull, "work")
    shown = await x(x.box.process.exec, "git --git-dir /tmp/origin.git log --format=%s")
    assert shown.result.split() == ["second", "first"]


async def check_branches(x):
    await _repository(x, "/tmp/branchy")
    await x(x.box.git.create_branch, "/tmp/branchy", "side")
    assert set((await x(x.box.git.branches, "/tmp/branchy")).branches) >= {"main", "side"}
    await x(x.box.git.checkout_branch, "/tmp/branchy", "main")
    await x(x.box.git.delete_branch, "/tmp/branchy", "side")
    assert "side" not in (await x(x.box.git.branches, "/tmp/branchy")).branches


async def check_newer_calls(x):
    x.need("git.init")
    await x(x.box.git.init, "/tmp/made")
    await x(x.box.git.configure_user, "Some Body", "some@body", scope="global")
    assert await x(x.box.git.get_config, "user.name", scope="global") == "Some Body"
    await x(x.box.git.remote_add, "/tmp/made", "origin", "/tmp/nowhere.git")
    assert [one.name for one in (await x(x.box.git.remotes, "/tmp/made")).remotes] == ["origin"]
    await x(x.box.fs.upload_file, b"x", "/tmp/made/file")
    await x(x.box.git.add, "/tmp/made", ["file"])
    await x(x.box.git.commit, "/tmp/made", "m", "Some Body", "some@body")
    await x(x.box.fs.upload_file, b"changed", "/tmp/made/file")
    await x(x.box.git.restore, "/tmp/made", ["file"])
    assert await x(x.box.fs.download_file, "/tmp/made/file") == b"x"
    await x(x.box.git.reset, "/tmp/made", mode="hard")


async def check_no_repository(x):
    await x.raises(
        ["DaytonaGitRepoNotFoundError", "DaytonaNotFoundError", "DaytonaError"],
        x.box.git.status,
        "/tmp/nothing",
    )
