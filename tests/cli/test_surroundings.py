"""What a host says of its processor's flaws, as `tidepool doctor` tells it (probe 97): tables of files."""

import subprocess
import sys
from pathlib import Path

import pytest

from tidepool.cli import surroundings

SOUND = {"meltdown": "Not affected", "spectre_v1": "Mitigation: usercopy/swapgs barriers"}
OPEN = {**SOUND, "spec_rstack_overflow": "Vulnerable: Safe RET, no microcode", "vmscape": "Vulnerable"}
BETWEEN_THREADS = {**SOUND, "mds": "Mitigation: Clear CPU buffers; SMT vulnerable"}


def told(place: Path, flaws: dict[str, str], smt: str) -> surroundings.Feature:
    directory = place / "vulnerabilities"
    directory.mkdir()
    for name, text in flaws.items():
        (directory / name).write_text(text + "\n")
    (place / "control").write_text(smt + "\n")
    return surroundings.cpu_mitigations(directory, place / "control")


def test_a_sound_processor(tmp_path: Path) -> None:
    feature = told(tmp_path, SOUND, "off")
    assert feature.works
    assert feature.detail == "2 flaws checked; threads of one core (SMT): off"


def test_open_flaws_are_named(tmp_path: Path) -> None:
    feature = told(tmp_path, OPEN, "notsupported")
    assert not feature.works
    assert not feature.needed
    for said in (
        "spec_rstack_overflow (Vulnerable: Safe RET, no microcode)",
        "vmscape",
        "(SMT): notsupported",
    ):
        assert said in feature.detail
    assert "meltdown" not in feature.detail


def test_threads_that_share_a_core_are_told(tmp_path: Path) -> None:
    feature = told(tmp_path, BETWEEN_THREADS, "on")
    assert not feature.works
    assert "smt/control" in feature.enable


@pytest.mark.parametrize("smt", [None, "on"])
def test_a_kernel_that_says_nothing_is_not_taken_for_sound(tmp_path: Path, smt: str | None) -> None:
    if smt:
        (tmp_path / "control").write_text(smt)
    feature = surroundings.cpu_mitigations(tmp_path / "none", tmp_path / "control")
    assert not feature.works
    assert (smt or "unknown") in feature.detail


def test_this_host_is_read() -> None:
    found = {feature.name: feature for feature in surroundings.surroundings()}["cpu_mitigations"]
    directory = Path("/sys/devices/system/cpu/vulnerabilities")
    for file in directory.iterdir() if directory.is_dir() else ():
        assert (file.name in found.detail) == file.read_text().startswith("Vulnerable")


@pytest.mark.needs("user_namespace")
def test_a_user_namespace_is_somebody_elses_container() -> None:
    script = "from tidepool.engine.kernel import probe; print(probe.is_container())"
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
