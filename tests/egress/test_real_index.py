"""The one journey over the real network: this host's own settings, its own index, the real pip, uv and npm.

Skipped with the reason where the index does not answer.
"""

import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest

from tidepool.egress.host import read_host
from tidepool.egress.indexes import HostIndexes
from tidepool.engine.network import environment
from tidepool.engine.spec import SandboxSpec


@pytest.fixture(scope="module")
def real() -> HostIndexes:
    """What this host is configured for, when its default index answers."""
    indexes = read_host()
    try:
        with urllib.request.urlopen(f"{indexes.python[-1].url}/six/", timeout=10):
            return indexes
    except (OSError, IndexError) as error:
        pytest.skip(f"the Python index of this host does not answer: {error}")


@pytest.fixture
def walled(real, start_egress, open_sandbox):
    egress = start_egress(*real.python, npm=real.npm, merge=real.merge)
    sandbox = open_sandbox(egress)
    sandbox.records = egress.records
    return sandbox


@pytest.mark.thorough
def test_a_real_page_and_pip_through_the_proxy(walled, tmp_path):
    status, _, body = walled.get("/simple/six/", Accept="application/vnd.pypi.simple.v1+json")
    assert status == 200
    page = json.loads(body)
    assert any(file["filename"] == "six-1.17.0-py2.py3-none-any.whl" for file in page["files"])
    assert all(file["url"].startswith("/files/") for file in page["files"])
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "six==1.17.0",
        "--no-cache-dir",
        "-d",
        str(tmp_path / "out"),
    ]
    done = walled.run(argv, tmp_path, **environment(walled.port, SandboxSpec(network="packages")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(tmp_path / "out") == ["six-1.17.0-py2.py3-none-any.whl"]
    assert {record["verdict"] for record in walled.records()} == {"served"}


@pytest.mark.thorough
def test_uv_installs_from_the_real_index(walled, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    argv = [str(uv), "pip", "install", "--no-cache", "--target", str(tmp_path / "out"), "pytest"]
    done = walled.run(
        argv, tmp_path, UV_PYTHON=sys.executable, **environment(walled.port, SandboxSpec(network="packages"))
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "pluggy").is_dir()


@pytest.mark.thorough
def test_npm_installs_from_the_real_registry(walled, tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    (tmp_path / "package.json").write_text("{}")
    argv = [npm, "install", "left-pad@1.3.0", "--no-audit", "--cache", str(tmp_path / "cache")]
    nowhere = {f"npm_config_{kind}config": str(tmp_path / f"no-{kind}rc") for kind in ("user", "global")}
    done = walled.run(argv, tmp_path, **environment(walled.port, SandboxSpec(network="packages")), **nowhere)
    if done.returncode and any(record["status"] >= 502 for record in walled.records()):
        pytest.skip(f"the npm registry of this host does not answer: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "node_modules/left-pad/package.json").is_file()
