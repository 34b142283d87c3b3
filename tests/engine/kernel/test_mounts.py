"""Mounts that cannot be had are refused in a sentence that says what to do."""

import os
import subprocess
import sys

import pytest

from tests.style.source import ROOT
from tidepool.engine.kernel import idmap, mounts

pytestmark = [
    pytest.mark.needs("user_namespace", "idmapped_mounts"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may map ids of the host's filesystems"),
]


def test_a_filesystem_without_id_maps_is_named_and_what_to_do_instead() -> None:
    # A program of its own: what other tests have loaded starts threads in every fork of this one, and a process with
    # threads may not have a user namespace made for it.
    code = "from tests.engine.kernel import test_mounts; test_mounts._refused_and_taken()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def _refused_and_taken() -> None:
    userns = idmap.create([(0, 1_900_000_000, 1)])
    with pytest.raises(
        OSError, match=r"/proc is on a filesystem that takes no id maps; put it on one such as ext4"
    ):
        mounts.idmapped_clone("/proc", userns)
    os.close(mounts.idmapped_clone("/usr", userns))
    os.close(userns)
