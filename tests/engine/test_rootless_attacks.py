"""The suite that attacks root's sandboxes, run by an ordinary user: the same outcomes but for those named here."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import plain_user

PROJECT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.needs("user_namespace", "overlayfs"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(
        shutil.which("newuidmap") is None, reason="newuidmap (package uidmap) is not installed"
    ),
]

ROOT_ONLY = (
    "test_host.py::test_control_root_outside_may_write_kernel_knobs",
    "test_host.py::test_control_an_idmapped_clone_handed_out_would_be_written",
)
"""Controls that take a wall down as root."""
OTHERWISE = (
    "test_limits_seen.py::test_another_size_is_seen_at_once",  # the limits of a running sandbox are fixed
    # Root inside replaces no file of /usr.
    "test_probes.py::test_each_user_has_what_is_its_own[21-overwrite-programs-root inside]",
    "test_probes_within.py::test_outcome[crun-21-overwrite-programs-root]",
    "test_probes_within.py::test_outcome[gvisor-21-overwrite-programs-root]",
    "test_probes.py::test_control_the_host_shows_it[16-init]",  # not to an ordinary user
    "test_probes.py::test_host_ids_are_of_one_sandbox_only",  # they are of the user's own range
    "test_tenant_attacks.py::test_locks_of_one_sandbox_are_not_felt_by_another",  # /dev/null is shared
    # Removes what it has put among the images, whose files are other ids' here.
    "test_tree_attacks.py::test_an_image_of_arranged_links_leads_its_sandboxes_nowhere",
)
"""Where an ordinary user's sandboxes are not as root's; SECURITY.md says so."""
MAY_SKIP = ("cgroup_memory", "cgroup_pids", "without root, root inside cannot replace files of /usr")
"""Reasons: an ordinary user has no control groups here."""


@pytest.fixture
def home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="tp-rootless-"))
    os.chown(directory, plain_user.UID, plain_user.UID)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("suite", "otherwise", "may_skip"),
    [
        pytest.param("tests/security/test_host.py", (), (), id="on the host"),
        pytest.param(
            *("tests/security", OTHERWISE, MAY_SKIP),
            id="all",
            marks=[pytest.mark.slow, pytest.mark.timeout(1200)],
        ),
    ],
)
def test_the_attacks_fail_here_too(
    home: Path, suite: str, otherwise: tuple[str, ...], may_skip: tuple[str, ...]
) -> None:
    leave_out = [
        word for name in (*ROOT_ONLY, *otherwise) for word in ("--deselect", f"tests/security/{name}")
    ]
    pytest_ = (sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow")
    done = subprocess.run(
        plain_user.command(*pytest_, f"--basetemp={home}/pytest", suite, *leave_out),
        cwd=PROJECT,
        env=os.environ | {"HOME": str(home), "TIDEPOOL_MUST_WORK": "overlayfs"},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\b[1-9]\d* passed", done.stdout)
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert [line for line in skipped if not any(reason in line for reason in may_skip)] == []
