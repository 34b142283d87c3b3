"""Which parts of a script the local base makes needless, and which are left exactly as they are."""

from pathlib import Path

import pytest

from tidepool.images.bases import is_stand_in
from tidepool.images.standin import missing, split_script


@pytest.mark.parametrize(
    ("script", "rest", "packages"),
    [
        ("apt-get update", "", ()),
        ("apt-get update -qq && apt-get install -y --no-install-recommends git curl", "", ("git", "curl")),
        ("DEBIAN_FRONTEND=noninteractive apt-get install -y gcc=4:12.2", "", ("gcc",)),
        (
            "apt-get update && apt-get install -y git && pip install 'x>1' && rm -rf /var/lib/apt/lists/*",
            None,
            ("git",),
        ),
        ("echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections", "", ()),
        ('echo "$X" | debconf-set-selections', None, ()),
        ("apt-get install -y $(cat list)", None, ()),
        ("apt-get update || true", None, ()),
        ("apt-get update && false || true", None, ()),
        ("apt-get update; echo done", None, ()),
        ("apt-get install -y ./local.deb", None, ()),
        ("(apt-get update) && true", None, ()),
        ("pip install apt-get", None, ()),
        ("echo 'it", None, ()),
    ],
)
def test_scripts(script: str, rest: str | None, packages: tuple[str, ...]) -> None:
    found = split_script(script)
    assert found.packages == packages
    if rest is not None:
        assert found.rest == rest
    elif packages:
        assert found.rest == "pip install 'x>1'"
    else:
        assert found.rest.split() == script.split()


def test_what_the_host_has_is_not_missing(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Package: git\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    assert missing(("git", "gone", "no-such", "sh"), status) == ["gone", "no-such"]
    assert missing(("git-none",), tmp_path / "none") == ["git-none"]


@pytest.mark.parametrize(
    ("name", "stands_in"),
    [
        ("python", True),
        ("python:3.12-slim-bookworm", True),
        ("library/python:3", True),
        ("debian:12", True),
        ("ubuntu", True),
        ("daytonaio/sandbox:0.4.3", True),
        ("alpine", False),
        ("pythonic:1", False),
        ("host.example/python:3", False),
        ("node:22", False),
    ],
)
def test_names_that_the_local_base_stands_in_for(name: str, stands_in: bool) -> None:
    assert is_stand_in(name) is stands_in
