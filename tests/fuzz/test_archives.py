"""Invariant: no tar, whatever it holds, makes a reader write outside of its target or raise anything but its own error;
what comes out is plain files, directories and links, and no more bytes than the bound.
"""

import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import examples, near, nothing_but
from tidepool.engine import archive
from tidepool.engine.spawner import unpacking
from tidepool.images import archive as image_archive
from tidepool.images import layers
from tidepool.images.errors import BadImage

NAMES = [
    "a",
    "a/b",
    "../x",
    "/etc/x",
    "a/../../x",
    "link",
    "link/x",
    "usr",
    "usr/local/x",
    "etc/passwd",
    ".wh.a",
    ".",
]
NAMES += [
    "a/.wh..wh..opq",
    "home",
    "etc",
    "dev",
    "proc/x",
    "manifest.json",
    "layer.tar",
    "",
    "a\0b",
    "x" * 300,
]
names = st.sampled_from([*NAMES, "d/" * 300 + "x"])
kinds = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        b"S",
        b"L",
    ]
)
members = st.lists(
    st.tuples(names, kinds, names | st.just("/etc"), st.integers(0, 0o7777), st.binary(max_size=30)),
    max_size=8,
)
numbers = st.sampled_from([0, 1000, 65534, 1 << 20, (1 << 31) - 1])


def tar_of(given: list[tuple[str, bytes, str, int, bytes]], uid: int = 0) -> bytes:
    """A tar as an adversary writes it; members that cannot even be written are left out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link, mode, data in given:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.uid, member.gid = kind, link, mode, uid, uid
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            member.pax_headers = {"path": link} if mode & 1 else {}
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


tars = st.builds(tar_of, members, numbers) | st.builds(tar_of, members, numbers).flatmap(
    lambda whole: near(whole, around=3)
)


def below(top: Path) -> list[os.stat_result]:
    """Everything below a directory, no link followed."""
    return [
        os.lstat(os.path.join(place, name)) for place, dirs, files in os.walk(top) for name in dirs + files
    ]


def check(outside: Path, target: Path) -> None:
    assert sorted(entry.name for entry in outside.iterdir()) == ["canary", "place"]
    assert (outside / "canary").read_text() == "unharmed"
    for found in below(target):
        assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)
        assert not found.st_mode & 0o6000 or stat.S_ISLNK(found.st_mode)


@examples(80)
@given(tars)
def test_a_dependency_layer(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as top:
        outside, place = Path(top), Path(top) / "place"
        (outside / "canary").write_text("unharmed")
        place.mkdir()
        (place / "tar").write_bytes(data)
        nothing_but(archive.BadArchive, lambda: archive.unpack(place / "tar", place / "out"))
        check(outside, place)


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking gives files to other users, which only root may")
@examples(80)
@given(tars)
def test_an_image_on_disk(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as top:
        outside, place = Path(top), Path(top) / "place"
        (outside / "canary").write_text("unharmed")
        place.mkdir()
        nothing_but(OSError, lambda: unpacking.unpack(io.BytesIO(data), place))
        check(outside, place)


@examples(60)
@given(st.lists(tars, min_size=1, max_size=3))
def test_layers_of_an_image(given_layers: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as top:
        paths = [Path(top) / f"layer{number}" for number in range(len(given_layers))]
        for path, data in zip(paths, given_layers, strict=True):
            path.write_bytes(data)
        if nothing_but(BadImage, lambda: layers.merge(paths, Path(top) / "whole")) is None:
            return
        with tarfile.open(Path(top) / "whole") as whole:
            for member in whole:
                assert member.isreg() or member.isdir() or member.issym() or member.islnk()
                assert not member.mode & 0o6000
                assert ".." not in member.name.split("/")
                assert not member.name.startswith("/")


@examples(60)
@given(tars)
def test_an_archive_of_an_image(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as top:
        outside, place = Path(top), Path(top) / "place"
        (outside / "canary").write_text("unharmed")
        place.mkdir()
        (place / "tar").write_bytes(data)
        (place / "out").mkdir()
        nothing_but(BadImage, lambda: image_archive.unpack(place / "tar", place / "out"))
        check(outside, place)
