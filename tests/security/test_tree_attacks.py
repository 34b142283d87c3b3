"""Attacks with whole trees on what the host saves, freezes, copies and removes: probes 82 (sparse), 85 and 86.

Depth, width, shut directories, links and special files in the way of the host's own work: it ends in bounded time,
follows nothing, and leaves nothing behind.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security import hostile
from tests.security.conftest import EngineThread
from tests.security.outcomes import SECRET, outcome
from tidepool.engine import Sandbox
from tidepool.engine.errors import NotFound, Refused, TidepoolError

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]

PROMPT_S = 5.0


def test_a_sparse_terabyte_is_refused_streamed_and_saved_in_bounds(host: EngineThread) -> None:
    """[82-sparse]"""
    box = host.sandbox()
    assert host.shell(box, "truncate -s 1T sparse && echo end >> sparse").exit_code == 0
    started = time.monotonic()
    assert isinstance(host.run(outcome(box.files.read("sparse"))), Refused)

    async def some() -> int:
        got = 0
        async with box.files.open_read("sparse") as download:
            assert download.size == (1 << 40) + 4
            async for chunk in download.chunks():
                got += len(chunk)
                if got > 8 << 20:
                    return got
        return got

    assert host.run(some()) > 8 << 20
    host.run(host.engine.stop(box))
    host.run(host.engine.start_again(box))
    assert host.shell(box, "stat -c %s sparse; tail -c 4 sparse").stdout == b"1099511627780\nend\n"
    host.run(host.engine.delete(box))
    assert time.monotonic() - started < 4 * PROMPT_S


DEEP = """
import os
os.mkdir("tree"); os.chdir("tree")
for number in range({levels}):
    os.mkdir("d"); os.chdir("d")
os.symlink({canary!r}, "link")
"""
WIDE = """
import os
os.mkdir("tree"); os.chdir("tree")
for number in range(3000):
    open("x" * 240 + str(number), "w").close()
os.mkdir("shut"); open("shut/file", "w").close(); os.symlink({canary!r}, "shut/link"); os.mkfifo("shut/fifo")
os.symlink(os.path.dirname({canary!r}), "shut/directory"); os.symlink("/", "root")
os.chmod("shut/file", 0); os.chmod("shut", 0)
"""


@pytest.mark.parametrize(
    "levels", [pytest.param(levels, id=f"85-deep-{levels}") for levels in (255, 900, 3500)]
)
def test_a_deep_tree_is_deleted_by_the_files_api(
    host: EngineThread, box: Sandbox, tmp_path: Path, levels: int
) -> None:
    made = host.python(box, DEEP.format(levels=levels, canary=str(tmp_path / "canary")))
    assert made.exit_code == 0, made.stderr
    started = time.monotonic()
    host.run(box.files.delete("tree", recursive=True))
    assert time.monotonic() - started < PROMPT_S
    with pytest.raises(NotFound):
        host.run(box.files.info("tree"))
    assert host.shell(box, "echo works; ls -A").stdout == b"works\n"


@pytest.mark.parametrize("tree", [pytest.param(DEEP, id="85-deep"), pytest.param(WIDE, id="85-wide")])
@pytest.mark.parametrize("way", ["delete", "stop", "freeze"])
def test_a_hostile_tree_is_saved_and_removed_and_nothing_else(
    host: EngineThread, tmp_path: Path, tree: str, way: str
) -> None:
    box = host.sandbox()
    made = host.python(box, tree.format(levels=3500, canary=str(tmp_path / "canary")))
    assert made.exit_code == 0, made.stderr
    spawner = hostile.spawner_pid(host)
    started = time.monotonic()
    if way == "stop":
        host.run(outcome(host.engine.stop(box)))
        host.run(outcome(host.engine.start_again(box)))
    elif way == "freeze":
        host.run(outcome(host.engine.freeze(box, "hostile")))
        host.run(outcome(host.engine.delete_image("hostile")))
    host.run(host.engine.delete(box))
    assert time.monotonic() - started < 4 * PROMPT_S
    assert (tmp_path / "canary").read_bytes() == SECRET
    assert hostile.spawner_pid(host) == spawner
    assert "hostile" not in host.run(host.engine.stored("images"))
    storage = next(place for place in host.state_dir.iterdir() if (place / "saved").is_dir())
    left = [path.name for kind in ("saved", "images") for path in (storage / kind).iterdir()]
    assert not [name for name in left if name.startswith((box.id, "hostile"))], left


def test_an_image_of_a_deep_tree_can_be_built_upon_and_removed(
    host: EngineThread, make_box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """[85-deep-image]"""
    box = host.sandbox()
    assert host.python(box, DEEP.format(levels=3500, canary=str(tmp_path / "canary"))).exit_code == 0
    host.run(host.engine.freeze(box, "deep"))
    host.run(host.engine.delete(box))
    upon = host.sandbox(image="deep")
    assert host.shell(upon, "test -d tree/d/d && echo more > more").exit_code == 0
    host.run(host.engine.freeze(upon, "deeper"))
    host.run(host.engine.delete(upon))
    for image in ("deeper", "deep"):
        host.run(host.engine.delete_image(image))
    storage = next(place for place in host.state_dir.iterdir() if (place / "images").is_dir())
    assert not [path.name for path in (storage / "images").iterdir() if path.name.startswith("deep")]


ARRANGED = """
import os, shutil
for name in ("etc", "mnt", "home", "root", "tmp"):
    try:
        os.rename("/" + name, "/was-" + name)
    except OSError as error:
        print(name, error.strerror)
    try:
        os.symlink({where!r}, "/" + name)
    except OSError as error:
        print(name, error.strerror)
for path in ("/srv/x", "/opt/y"):
    os.makedirs(path, exist_ok=True)
    for name, value in (("user.overlay.opaque", b"y"), ("user.overlay.whiteout", b""), ("user.big", b"x" * 60000)):
        try:
            os.setxattr(path, name, value)
        except OSError:
            pass
try:
    os.mknod("/srv/whiteout", 0o020000 | 0o666, 0)
except OSError as error:
    print("mknod", error.strerror)
shutil.rmtree("/usr/share", ignore_errors=True)
"""


def test_an_image_of_arranged_links_leads_its_sandboxes_nowhere(
    host: EngineThread, make_box: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """[86-arranged] Links in place of what is mounted on or written to at birth."""
    where = tmp_path / "outside"
    where.mkdir()
    box = make_box(user="root")
    host.python(box, ARRANGED.format(where=str(where)))
    host.run(host.engine.freeze(box, "arranged"))
    try:
        for user in ("daytona", "root"):
            with contextlib.suppress(
                TidepoolError
            ):  # a sandbox that cannot be built from it is a fine answer
                born = make_box(image="arranged", user=user)
                host.run(outcome(born.files.write("/etc/evil", b"x")))
                host.run(outcome(born.files.write("/mnt/evil", b"x")))
                assert host.shell(born, f"ls -A {where}").stdout in (b"", b"evil\n")
        assert list(where.iterdir()) == []
        assert host.shell(make_box(), "echo works").stdout == b"works\n"
    finally:
        for made in (sandbox for sandbox in host.engine.list("") if sandbox.spec.image == "arranged"):
            host.run(host.engine.delete(made))
        with contextlib.suppress(TidepoolError):
            host.run(host.engine.delete_image("arranged"))
