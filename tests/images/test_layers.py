"""Layers laid over one another: what is visible, what is hidden, and what never gets through."""

import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.images import tars
from tidepool.images import layers
from tidepool.images.errors import BadImage


def merged(place: Path, *made: bytes) -> dict[str, Any]:
    """What the layers make."""
    for number, data in enumerate(made):
        (place / f"l{number}").write_bytes(data)
    layers.merge([place / f"l{number}" for number in range(len(made))], place / "out")
    return tars.listing((place / "out").read_bytes())


def test_later_layers_win(tmp_path: Path) -> None:
    lower = tars.layer(("a", None), ("a/x", b"old"), ("a/y", b"kept"), zipped=True)
    assert merged(tmp_path, lower, tars.layer(("a/x", b"new"))) == {"a": None, "a/x": b"new", "a/y": b"kept"}


def test_whiteouts_hide_what_is_below_and_nothing_else(tmp_path: Path) -> None:
    lower = tars.layer(("a", None), ("a/x", b"1"), ("b", None), ("b/x", b"1"), ("b/d/e", b"1"), ("c", b"1"))
    upper = tars.layer(
        ("a/.wh.x", b""), ("b/new", b"2"), ("b/.wh..wh..opq", b""), (".wh.c", b""), ("c", b"2")
    )
    assert merged(tmp_path, lower, upper) == {"a": None, "b": None, "b/new": b"2", "c": b"2"}


def test_a_directory_that_is_made_anew_does_not_show_the_old_one(tmp_path: Path) -> None:
    upper = tars.layer(("a/new", b"2"), (".wh.a", b""))
    assert merged(tmp_path, tars.layer(("a/old", b"1")), upper) == {"a": None, "a/new": b"2"}


def test_a_file_replaces_a_directory_and_a_directory_a_link(tmp_path: Path) -> None:
    lower = tars.layer(("a/x", b"1"), ("d", "link:a"))
    assert merged(tmp_path, lower, tars.layer(("a", b"2"), ("d", None))) == {"a": b"2", "d": None}


def test_a_later_layer_reaches_through_links_of_a_lower_one_inside_the_image_only(tmp_path: Path) -> None:
    lower = tars.layer(
        ("usr/lib", None), ("lib", "link:usr/lib"), ("up", "link:../../../etc"), ("n/abs", "link:/etc")
    )
    found = merged(tmp_path, lower, tars.layer(("lib/x", b"1"), ("up/y", b"2"), ("n/abs/z", b"3")))
    assert {name for name in found if found[name] in (b"1", b"2", b"3")} == {"usr/lib/x", "etc/y", "etc/z"}


def test_hard_links_stay_links_and_keep_content_that_was_replaced(tmp_path: Path) -> None:
    lower = tars.layer(("a", b"1"), ("b", "hard:a"), ("c", "hard:b"))
    assert merged(tmp_path, lower) == {"a": b"1", "b": "hard:a", "c": "hard:a"}
    assert merged(tmp_path, lower, tars.layer(("a", b"2"))) == {"a": b"2", "b": b"1", "c": "hard:b"}


def test_parents_come_before_and_links_after_everything(tmp_path: Path) -> None:
    merged(tmp_path, tars.layer(("z", "link:a"), ("a/b/c", b"1"), ("m", "hard:a/b/c")))
    with tarfile.open(tmp_path / "out") as tar:
        assert [member.name for member in tar] == ["a", "a/b", "a/b/c", "m", "z"]


def test_nothing_privileged_is_left(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(tars.layer(("su", b"1"), ("null", "device"), ("pipe", "fifo"), mode=0o6755))
    layers.merge([tmp_path / "l"], tmp_path / "out")
    with tarfile.open(tmp_path / "out") as tar:
        assert [(member.name, stat.S_IMODE(member.mode)) for member in tar] == [("su", 0o755)]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/a/..", "a/../b", "x" * 256, "d/" * 200 + "x"])
def test_names_that_climb_or_cannot_be_written_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadImage):
        merged(tmp_path, tars.layer((name, b"1")))


def test_absolute_names_are_taken_below_the_image(tmp_path: Path) -> None:
    assert merged(tmp_path, tars.layer(("/etc/x", b"1"))) == {"etc": None, "etc/x": b"1"}


@pytest.mark.parametrize(
    "data",
    [
        b"no tar",
        tars.layer(("a", b"x" * 5000))[:2000],
        tars.layer(("a", b"x" * 5000), zipped=True)[:-20],
        tars.layer(("b", "hard:none")),
        tars.layer(("x", "link:y"), ("y", "link:x"), ("x/z", b"1")),
    ],
)
def test_damage_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadImage):
        merged(tmp_path, data)


def test_zstd_is_refused_with_a_sentence_or_read(tmp_path: Path) -> None:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        with pytest.raises(BadImage, match="zstd"):
            merged(tmp_path, b"\x28\xb5\x2f\xfd" + b"x" * 100)
    else:
        assert merged(tmp_path, zstd.compress(tars.layer(("a", b"1")))) == {"a": b"1"}


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MAX_BYTES", 1000)
    with pytest.raises(BadImage, match="more than"):
        merged(tmp_path, tars.layer(("a", b"x" * 600)), tars.layer(("b", b"x" * 600), zipped=True))
