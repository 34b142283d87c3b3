"""SSH into real sandboxes of a real server, with a real client: what a token opens, how long, and what it does not."""

import asyncio
import logging
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StateDirs
from tests.server.client import Api, Started, started
from tests.server.conftest import Box

asyncssh = pytest.importorskip("asyncssh")
ssh = pytest.importorskip("tidepool.server.ssh")
pytestmark = pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")
_COMMAND = re.compile(r"ssh -p ([0-9]+) ([0-9a-f]{64})@127\.0\.0\.1\Z")


@pytest.fixture(scope="module")
def place(state_dirs: StateDirs) -> Path:
    """The records of this module's server."""
    return state_dirs.state / "records"
