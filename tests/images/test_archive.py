"""Image archives of both kinds, whole and damaged."""

import json
from pathlib import Path

import pytest

from tests.images import tars
from tidepool.images import archive
from tidepool.images.errors import BadImage

IMAGE = tars.Made([tars.layer(("a", b"1")), tars.layer(("b", b"2"), zipped=True)])


def unpacked(place: Path, data: bytes) -> archive.Unpacked:
    """What an archive holds."""
    (place / "archive.tar").write_bytes(data)
    (place / "layers").mkdir()
    return archive.unpack(place / "archive.tar", place / "layers")


@pytest.mark.parametrize("data", [IMAGE.layout(), IMAGE.saved()], ids=["layout", "saved"])
def test_configuration_and_layers_come_out(tmp_path: Path, data: bytes) -> None:
    found = unpacked(tmp_path, data)
    assert found.config == IMAGE.config
    assert [path.read_bytes() for path in found.layers] == IMAGE.layers


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    "data",
    [
        b"no tar at all",
        tars.layer(("x", b"1")),
        _replaced(IMAGE.layout(), IMAGE.layers[1], IMAGE.layers[1][:-1] + b"!"),
        _replaced(IMAGE.layout(), b'"A=1"', b'"A=2"'),
        tars.layer(("manifest.json", b"[]")),
        tars.layer(("manifest.json", json.dumps([{"Config": "../c", "Layers": ["x"]}]).encode())),
        tars.layer(("index.json", b'{"manifests":[{"digest":"sha256:../../x"}]}')),
        tars.layer(("index.json", b"{")),
    ],
)
def test_damage_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadImage):
        unpacked(tmp_path, data)
