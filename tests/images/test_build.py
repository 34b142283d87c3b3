"""Dockerfiles built in real sandboxes: what is in the image, what is cached, and what is said when a step fails."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images import tars
from tests.images.registry_server import serving
from tests.security.conftest import EngineThread
from tidepool.engine import Command, SandboxSpec
from tidepool.images import build
from tidepool.images.bases import Base, Bases
from tidepool.images.build import Builder, Built
from tidepool.images.errors import BadDockerfile, BadImage, BuildFailed
from tidepool.images.registry import Registry

pytestmark = [pytest.mark.thorough, pytest.mark.needs("user_namespace", "overlayfs", "idmapped_mounts")]


@dataclass
class Workshop:
    """An engine with a builder."""

    host: EngineThread
    builder: Builder
    snapshots: dict[str, Base]
    log: list[str]

    def build(self, text: str, *contexts: Path, tenant: str = "a") -> Built:
        """Build it; the log is kept."""
        self.log.clear()
        return self.host.run(self.builder.build(text, contexts, tenant, self.log.append), 100)

    def run(self, built: Built, shell: str) -> str:
        """What a command in a sandbox of the image says."""
        spec = SandboxSpec(image=built.base.image, env=built.base.config.env, user="root", ephemeral=True)
        sandbox = self.host.run(self.host.engine.create(spec))
        try:
            result = self.host.run(sandbox.exec(Command(shell=shell, timeout_s=20)))
            return result.output.decode().strip()
        finally:
            self.host.run(self.host.engine.delete(sandbox))


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    place = Path(tempfile.mkdtemp(prefix="tidepool-build-"))
    place.chmod(0o755)
    (place / "work").mkdir()
    snapshots: dict[str, Base] = {}

    async def find(name: str, tenant: str) -> Base | None:
        return snapshots.get(f"{tenant}/{name}")

    host = EngineThread(place / "state", place / "run")
    try:
        bases = Bases(host.engine, place / "work", find, None, None)
        yield Workshop(host, Builder(host.engine, place / "work", bases), snapshots, [])
        assert list((place / "work").iterdir()) == []
    finally:
        host.close()
        shutil.rmtree(place)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context as clients upload it."""
    path = tmp_path / "context.tar"
    entries: tuple[tars.Entry, ...] = (
        ("tmp/app/a.py", b"print('a')\n"),
        ("tmp/app/sub/b.txt", b"b\n"),
        ("tmp/app/link", "link:a.py"),
        ("tmp/one.txt", b"one\n"),
        ("x.tar.gz", tars.layer(("inside/c.txt", b"c\n"), zipped=True)),
    )
    path.write_bytes(tars.layer(*entries, mode=0o640))
    return path


def test_a_name_alone_is_the_local_base_and_the_log_says_so(shop: Workshop) -> None:
    built = shop.build("FROM python:3.12-slim\nENV A=1\n")
    assert (built.base.image, built.base.config.env, built.base.is_local) == ("", {"A": "1"}, True)
    assert any("local base" in line and "Python 3." in line for line in shop.log)


@pytest.mark.parametrize("name", ["alpine:3", "no/such", "scratch", "oci-archive:x.tar", "UPPER"])
def test_a_name_that_nobody_knows_is_refused(shop: Workshop, name: str) -> None:
    with pytest.raises(BadImage):
        shop.build(f"FROM {name}")


def test_steps_change_files_and_configuration(shop: Workshop, context: Path) -> None:
    built = shop.build(
        "FROM debian\nARG WHO=world\nENV GREETING='hello there' PLACE=/opt/p\nWORKDIR $PLACE\n"
        'RUN echo "$GREETING $WHO" > said && id -u > who && pwd > where\n'
        'COPY ["tmp/app", "/opt/app"]\nCOPY --chown=1000:1000 --chmod=600 tmp/one.txt ./\nADD x.tar.gz /opt/x/\n'
        'USER daytona\nENTRYPOINT ["/bin/bash"]\nCMD ["-l"]\n',
        context,
    )
    config = built.base.config
    assert (config.work_dir, config.user, config.entrypoint, config.cmd) == (
        "/opt/p",
        "daytona",
        ("/bin/bash",),
        ("-l",),
    )
    assert shop.run(built, "cd /opt; cat p/said p/who p/where app/a.py app/sub/b.txt x/inside/c.txt").split(
        "\n"
    ) == [
        "hello there world",
        "0",
        "/opt/p",
        "print('a')",
        "b",
        "c",
    ]
    assert shop.run(built, "stat -c '%a %u:%g' /opt/p/one.txt /opt/app/a.py; readlink /opt/app/link").split(
        "\n"
    ) == [
        "600 1000:1000",
        "640 0:0",
        "a.py",
    ]
    assert built.bytes > 0


def test_what_was_built_is_not_built_again_and_what_begins_the_same_begins_there(shop: Workshop) -> None:
    text = "FROM debian\nRUN date +%N > /opt/stamp\n"
    first = shop.build(text)
    again = shop.build(text)
    assert (first.was_cached, again.was_cached) == (False, True)
    assert again.base.image == first.base.image
    assert any("(cached)" in line for line in shop.log)
    longer = shop.build(text + "RUN cp /opt/stamp /opt/copy\n")
    assert not longer.was_cached
    stamp = shop.run(first, "cat /opt/stamp")
    assert shop.run(longer, "cat /opt/stamp /opt/copy").split() == [stamp, stamp]
    assert not shop.build(text, tenant="b").was_cached


def test_a_long_step_is_kept_even_when_a_later_one_fails(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "WORTH_KEEPING_S", 0.2)
    text = "FROM debian\nRUN sleep 0.3; date +%N > /opt/long\nRUN {} /opt/long\n"
    with pytest.raises(BuildFailed):
        shop.build(text.format("false"))
    shop.build(text.format("cat"))
    assert any(line.endswith("/opt/long (cached)") for line in shop.log)
    shop.build("FROM debian\nRUN date +%N > /opt/short\nRUN true\n")
    shop.build("FROM debian\nRUN date +%N > /opt/short\nRUN cat /opt/short\n")
    assert not any(line.endswith("(cached)") for line in shop.log)


def test_builds_of_the_same_at_the_same_time_are_one(shop: Workshop) -> None:
    async def build_three() -> list[Built]:
        text = "FROM debian\nRUN sleep 0.2; echo same > /opt/same\n"
        builds = [shop.builder.build(text, [], "a", shop.log.append) for _ in range(3)]
        return await asyncio.gather(*builds)

    found = shop.host.run(build_three())
    assert sorted(one.was_cached for one in found) == [False, True, True]
    assert len({one.base.image for one in found}) == 1


def test_a_changed_context_is_a_changed_image(shop: Workshop, tmp_path: Path) -> None:
    images = []
    for number, content in enumerate([b"1", b"2", b"1"]):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(tars.layer(("f", content), ("other", str(number).encode())))
        images.append(shop.build("FROM debian\nCOPY f /opt/f\n", path).base.image)
    assert images[0] != images[1]
    assert images[0] == images[2]


def test_a_step_that_fails_is_named_with_its_code_and_its_last_words(shop: Workshop) -> None:
    before = shop.host.engine.alive
    with pytest.raises(
        BuildFailed, match=r"Step 2/3: RUN echo bad.*\(line 3\) ended with exit code 7: bad luck"
    ):
        shop.build("FROM debian\nRUN true\nRUN echo bad luck >&2; exit 7\nRUN true\n")
    assert shop.log[-1] == "bad luck"
    assert shop.host.engine.alive == before


def test_what_is_wrong_with_the_text_is_said_before_anything_runs(shop: Workshop) -> None:
    for text in ("FROM debian\nRUN true\nENV A=${x", "FROM debian\nRUN true\nCOPY none /opt/"):
        with pytest.raises(BadDockerfile, match="line 3"):
            shop.build(text)
        assert not any(line.startswith("Step") for line in shop.log)


def test_stages_are_built_when_they_are_needed(shop: Workshop) -> None:
    built = shop.build(
        "ARG BASE=debian\nFROM $BASE AS unused\nRUN exit 1\n"
        "FROM $BASE AS maker\nRUN mkdir -p /opt/out/d && echo made > /opt/out/d/f && echo other > /opt/out/g\n"
        "FROM maker AS same\nFROM $BASE\nCOPY --from=maker /opt/out /opt/taken/\n"
        "COPY --from=2 /opt/out/d/* /opt/star/\n"
    )
    assert shop.run(built, "cd /opt; ls; cat taken/d/f taken/g star/f").split() == [
        *("star", "taken", "made", "other", "made")
    ]


def test_heredocs_are_scripts_and_files(shop: Workshop) -> None:
    built = shop.build(
        "FROM debian\nENV A=1\nRUN <<EOF\necho $A > /opt/one\necho two >> /opt/one\nEOF\n"
        "RUN <<EOF\n#!/usr/bin/env python3\nopen('/opt/py', 'w').write('py')\nEOF\n"
        "RUN cat <<'END' > /opt/cat\n$A it's\nEND\nCOPY <<f.txt /opt/\nvalue \"$A\"\nf.txt\n"
    )
    assert shop.run(built, "cd /opt; cat one py; echo; cat cat f.txt; ls -A /tmp").split("\n") == [
        *("1", "two", "py", "$A it's", 'value "1"')
    ]


def test_user_decides_who_runs_a_step(shop: Workshop) -> None:
    built = shop.build(
        "FROM debian\nRUN chmod 777 /opt\nUSER daytona\nRUN id -un > /opt/who; echo $HOME >> /opt/who\n"
        "USER 1001:1002\nRUN id -u > /opt/number; id -g >> /opt/number\n"
    )
    assert shop.run(built, "cat /opt/who /opt/number").split() == ["daytona", "/home/daytona", "1001", "1002"]
    with pytest.raises(BadDockerfile, match="no user nobody-here"):
        shop.build("FROM debian\nUSER nobody-here\nRUN true\n")


def test_a_snapshot_by_name_comes_before_everything_and_is_its_tenants(shop: Workshop) -> None:
    made = shop.build("FROM debian\nENV FROM_IT=yes\nRUN echo kept > /opt/kept\n")
    shop.snapshots["a/debian"] = made.base
    try:
        built = shop.build("FROM debian\nRUN cat /opt/kept > /opt/again; echo $FROM_IT >> /opt/again\n")
        assert shop.run(built, "cat /opt/again").split() == ["kept", "yes"]
        with pytest.raises(BuildFailed):
            shop.build("FROM debian\nRUN cat /opt/kept\n", tenant="b")
    finally:
        del shop.snapshots["a/debian"]


def test_what_clients_put_first_works_on_the_local_base(shop: Workshop) -> None:
    built = shop.build(
        "FROM python:3.12.10-slim-bookworm\nRUN apt-get update\nRUN apt-get install -y gcc gfortran build-essential\n"
        "RUN echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections\n"
        "RUN apt-get update && apt-get install -y bash && echo yes > /opt/yes && rm -rf /var/lib/apt/lists/*\n"
    )
    assert shop.run(built, "cat /opt/yes") == "yes"
    assert any(line.startswith("bash: part of the local base") for line in shop.log)
    with pytest.raises(BuildFailed, match="no-such-package cannot be installed"):
        shop.build("FROM debian\nRUN apt-get install -y no-such-package\n")


def test_an_image_of_another_system_is_built_upon(shop: Workshop, tmp_path: Path) -> None:
    image = tars.Made([tars.tiny_system(), tars.layer(("app/old", b"1"), ("app/kept", b"2"))])
    image.layers.append(tars.layer(("app/.wh.old", b"")))
    (tmp_path / "tiny.tar").write_bytes(image.layout())
    text = "FROM {}\nRUN cat /etc/os-release kept > said; id -u >> said\nCOPY <<f /app/\nf\n"

    async def find(name: str, tenant: str) -> Base | None:
        return None

    async def opened() -> Registry:
        return Registry(registry.url)

    with serving() as registry:
        registry.put("tiny", "1", image)
        client = shop.host.run(opened())
        bases = Bases(shop.host.engine, shop.builder.place, find, client, tmp_path)
        other = Workshop(shop.host, Builder(shop.host.engine, shop.builder.place, bases), {}, [])
        try:
            pulled = other.build(text.format("tiny:1"))
            assert (pulled.base.is_local, pulled.base.config.work_dir) == (False, "/app")
            assert other.run(pulled, "cd /app; cat said; echo *").split("\n") == [
                "NAME=tiny",
                "20",
                "f kept said",
            ]
            asked = len(registry.asked)
            assert other.build(text.format("tiny:1")).was_cached
            layers = [tars.digest(data) for data in image.layers]
            assert not any(path.endswith(tuple(layers)) for path in registry.asked[asked:])
            unpacked = other.build(text.format("oci-archive:tiny.tar"))
            assert other.run(unpacked, "cat /app/said").split("\n") == ["NAME=tiny", "20"]
        finally:
            shop.host.run(client.close())


def test_root_of_the_file_system_can_be_written(shop: Workshop, context: Path) -> None:
    probe = shop.run(shop.build("FROM debian"), "mkdir /probe && echo yes")
    if probe != "yes":
        pytest.skip(f"this engine makes nothing directly below /: {probe}")
    built = shop.build("FROM debian\nCOPY tmp/one.txt /.one.txt\nWORKDIR /app\nRUN pwd > here\n", context)
    assert shop.run(built, "cat /.one.txt /app/here").split() == ["one", "/app"]
