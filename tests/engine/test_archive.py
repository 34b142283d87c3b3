"""What may come out of a build sandbox: hostile tars against the member policy, and manifests against changes."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.engine import archive
from tidepool.engine.archive import BadArchive, Manifest


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


BAD_MEMBERS = {
    "absolute": member("/etc/passwd"),
    "upwards": member("../x"),
    "upwards in the middle": member("lib/../../x"),
    "a dot": member("./x"),
    "nothing": member(""),
    "an empty part": member("lib//x"),
    "a NUL": member("lib/\0x"),
    "a line break": member("lib/x\ny"),
    "a backslash": member("lib\\x"),
    "not UTF-8": member("lib/\udcff"),
    "long": member("a/" * 600 + "x"),
    "a long part": member("a" * 256),
    "the manifest": member(archive.MANIFEST),
    "below the manifest": member(f"{archive.MANIFEST}/x"),
    "a symbolic link": member("lib/x", tarfile.SYMTYPE, linkname="y"),
    "a hard link": member("lib/x", tarfile.LNKTYPE, linkname="lib/y"),
    "a whiteout": member("lib/x", tarfile.CHRTYPE),
    "a block device": member("lib/x", tarfile.BLKTYPE),
    "a FIFO": member("lib/x", tarfile.FIFOTYPE),
    "a sparse file": member("lib/x", tarfile.GNUTYPE_SPARSE),
    "an unknown type": member("lib/x", b"9"),
}


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_refused_as_a_member(name):
    with pytest.raises(BadArchive):
        archive.member_path(BAD_MEMBERS[name])


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "a", "", "/"])).map("/".join))
def test_what_is_accepted_stays_below(name):
    try:
        path = archive.member_path(member(name))
    except BadArchive:
        return
    assert path == name
    assert os.path.normpath(os.path.join("/layer", name)) == f"/layer/{name}"


def test_files_come_out_plain(tmp_path):
    tar = write_tar(
        tmp_path / "tar",
        (member("bin", tarfile.DIRTYPE, mode=0o7777), b""),
        (member("bin/tool", mode=0o6755, uid=0, mtime=1_600_000_000), b"#!x"),
        (member("lib/python3.11/site-packages/a.py", mode=0o666, mtime=1_600_000_000.75), b"A = 1"),
        (member("lib/empty", mode=0o000, mtime=-5), b""),
    )
    files = archive.unpack(tar, tmp_path / "out")
    assert sorted(files) == ["bin/tool", "lib/empty", "lib/python3.11/site-packages/a.py"]
    modes = {name: (tmp_path / "out" / name).stat().st_mode & 0o7777 for name in files}
    assert modes == {"bin/tool": 0o755, "lib/empty": 0o644, "lib/python3.11/site-packages/a.py": 0o644}
    assert (tmp_path / "out/bin/tool").stat().st_mtime == 1_600_000_000
    assert (tmp_path / "out/bin").stat().st_mode & 0o7777 == 0o755


def test_a_member_through_a_link_never_leaves_the_layer(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = member("lib/out", tarfile.SYMTYPE, linkname=str(outside))
    tar = write_tar(tmp_path / "tar", (link, b""), (member("lib/out/x"), b"escaped"))
    with pytest.raises(BadArchive, match="lib/out"):
        archive.unpack(tar, tmp_path / "layer")
    # Control: a tar reader without a policy writes through it.
    with tarfile.open(tar) as naive:
        trusting = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
        naive.extractall(tmp_path / "naive", **trusting)
    assert (outside / "x").read_bytes() == b"escaped"


@pytest.mark.parametrize(
    "names",
    [("lib/x", "lib/x"), ("lib/x", "lib/x/y"), ("lib/x/y", "lib/x")],
    ids=["twice", "below a file", "over one"],
)
def test_names_that_collide_are_refused(tmp_path, names):
    tar = write_tar(tmp_path / "tar", *((member(name), b"1") for name in names))
    with pytest.raises(BadArchive):
        archive.unpack(tar, tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"x" * 10_000, b"\x1f\x8b" + b"x" * 600])
def test_what_is_no_tar_is_refused_or_empty(tmp_path, data):
    (tmp_path / "tar").write_bytes(data)
    with pytest.raises(BadArchive, match="cannot be read"):
        archive.unpack(tmp_path / "tar", tmp_path / "out")


def test_a_tar_that_breaks_off_is_refused(tmp_path):
    whole = write_tar(tmp_path / "tar", (member("lib/x"), b"x" * 5000)).read_bytes()
    (tmp_path / "tar").write_bytes(whole[:3000])
    with pytest.raises(BadArchive):
        archive.unpack(tmp_path / "tar", tmp_path / "out")


def test_a_size_that_is_a_lie_is_refused_before_it_is_written(tmp_path):
    info = member("lib/x")
    info.size = archive.MAX_BYTES + 1
    (tmp_path / "tar").write_bytes(info.tobuf() + b"\0" * 1024)
    with pytest.raises(BadArchive, match="too large"):
        archive.unpack(tmp_path / "tar", tmp_path / "out")


def test_the_manifest_knows_every_change(tmp_path):
    tar = write_tar(tmp_path / "tar", (member("lib/a.py"), b"1"), (member("lib/b.py"), b"2"))
    layer = tmp_path / "layer"
    manifest = Manifest(("a",), "a==1", "3.11", ("a",), archive.unpack(tar, layer))
    archive.save(layer, manifest)
    assert archive.load(layer) == manifest
    assert archive.is_intact(layer, manifest)
    changes = {
        "changed": lambda: (layer / "lib/a.py").write_text("x"),
        "added": lambda: (layer / "lib/c.py").write_text("x"),
        "missing": lambda: (layer / "lib/a.py").unlink(),
        "a link to the same": lambda: (
            (layer / "lib/a.py").rename(tmp_path / "a"),
            (layer / "lib/a.py").symlink_to(tmp_path / "a"),
        ),
    }
    for name, change in changes.items():
        change()
        assert not archive.is_intact(layer, manifest), name
        for leftover in ("lib/a.py", "lib/c.py"):
            (layer / leftover).unlink(missing_ok=True)
        (layer / "lib/a.py").write_bytes(b"1")
        assert archive.is_intact(layer, manifest)


def test_a_layer_without_a_readable_manifest_is_none(tmp_path):
    assert archive.load(tmp_path / "absent") is None
    (tmp_path / archive.MANIFEST).write_text("{")
    assert archive.load(tmp_path) is None
