"""The registry client against a registry on loopback: pulls, tokens, redirects, and everything it must not believe."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.images import tars
from tests.images.registry_server import RegistryServer, serving
from tidepool.images.errors import BadImage, RegistryUnavailable
from tidepool.images.reference import Reference, parse_reference
from tidepool.images.registry import Blob, Registry

IMAGE = tars.Made([tars.layer(("a", b"1")), tars.layer(("b", b"2"), zipped=True)])
NAME = parse_reference("team/app:1")

pytestmark = [pytest.mark.thorough, pytest.mark.anyio]


@pytest.fixture
def served() -> Iterator[RegistryServer]:
    with serving() as registry:
        registry.put("team/app", "1", IMAGE)
        yield registry


@pytest.fixture
async def client(served: RegistryServer) -> AsyncIterator[Registry]:
    registry = Registry(served.url)
    yield registry
    await registry.close()


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("app", Reference("", "app", "latest", "")),
        ("app:1.2", Reference("", "app", "1.2", "")),
        ("team/app", Reference("", "team/app", "latest", "")),
        ("localhost/app", Reference("localhost", "app", "latest", "")),
        ("host:5000/a/b:x", Reference("host:5000", "a/b", "x", "")),
        ("h.example/a@sha256:" + "0" * 64, Reference("h.example", "a", "latest", "sha256:" + "0" * 64)),
    ],
)
def test_names_are_taken_apart(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a//b", "a:", "a:b:c", "-a", "a@sha256:1", "../x", "a b", "a" * 600]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(BadImage, match="not a name of an image"):
        parse_reference(text)


@pytest.mark.parametrize("platforms", [True, False])
async def test_a_pull(served: RegistryServer, client: Registry, tmp_path: Path, platforms: bool) -> None:
    served.put("team/app", "1", IMAGE, platforms=platforms)
    manifest = await client.manifest(NAME)
    assert await client.config(NAME, manifest) == IMAGE.config
    for number, blob in enumerate(manifest.layers):
        await client.save(NAME, blob, tmp_path / "blob")
        assert (tmp_path / "blob").read_bytes() == IMAGE.layers[number]


async def test_a_digest_is_held_to(served: RegistryServer, client: Registry) -> None:
    pinned = parse_reference(f"team/app@{tars.digest(IMAGE.manifest)}")
    assert (await client.manifest(pinned)).digest == pinned.digest
    served.manifests["team/app", pinned.digest] += b" "
    with pytest.raises(BadImage, match="not what"):
        await client.manifest(pinned)


async def test_a_prefix_goes_before_every_name(served: RegistryServer) -> None:
    client = Registry(f"{served.url}/team/")
    assert (await client.manifest(parse_reference("app:1"))).layers
    await client.close()


async def test_a_token_is_fetched_once_with_the_credentials_and_never_sent_elsewhere(
    served: RegistryServer, tmp_path: Path
) -> None:
    served.password, served.redirects_to = "secret", f"{served.url}/stored"
    client = Registry(served.url, "user:secret")
    manifest = await client.manifest(NAME)
    await client.save(NAME, manifest.layers[0], tmp_path / "blob")
    await client.close()
    assert (tmp_path / "blob").read_bytes() == IMAGE.layers[0]
    assert served.asked.count("repository:team/app:pull") == 1
    assert served.tokens_elsewhere == [""]


@pytest.mark.parametrize("credentials", [None, "user:wrong"])
async def test_without_the_right_credentials_nothing_is_had(
    served: RegistryServer, credentials: str | None
) -> None:
    served.password = "secret"
    client = Registry(served.url, credentials)
    with pytest.raises(BadImage, match="401"):
        await client.manifest(NAME)
    await client.close()


async def test_another_host_is_never_asked(client: Registry, served: RegistryServer) -> None:
    with pytest.raises(BadImage, match="not the registry"):
        await client.manifest(parse_reference("other.example/team/app"))
    assert served.asked == []
    own = served.url.removeprefix("http://")
    assert (await client.manifest(parse_reference(f"{own}/team/app:1"))).layers


async def test_what_is_not_there_is_said(client: Registry) -> None:
    with pytest.raises(BadImage, match="no image team/none:latest"):
        await client.manifest(parse_reference("team/none"))


async def test_a_blob_that_is_not_its_digest_is_thrown_away(
    served: RegistryServer, client: Registry, tmp_path: Path
) -> None:
    blob = Blob(tars.digest(IMAGE.layers[0]), len(IMAGE.layers[0]), "")
    for bad, why in (
        (b"!" + IMAGE.layers[0][1:], "another digest"),
        (IMAGE.layers[0] + b"!", "larger than"),
        (IMAGE.layers[0][:-1], "another digest"),
    ):
        served.blobs[blob.digest] = bad
        with pytest.raises(BadImage, match=why):
            await client.save(NAME, blob, tmp_path / "blob")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "manifest",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"manifests":[{"digest":"sha256:x","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}',
        b'{"config":{"digest":"../x","size":1},"layers":[{"digest":"x","size":1}]}',
        b'{"config":{"digest":"sha256:' + b"0" * 64 + b'","size":-1},"layers":[]}',
        b" " * (5 << 20),
    ],
)
async def test_what_is_no_manifest_is_refused(
    served: RegistryServer, client: Registry, manifest: bytes
) -> None:
    served.manifests["team/app", "1"] = manifest
    with pytest.raises(BadImage):
        await client.manifest(NAME)


async def test_a_redirect_off_https_and_loopback_is_not_followed(
    served: RegistryServer, client: Registry
) -> None:
    manifest = await client.manifest(NAME)
    served.redirects_to = "http://192.0.2.1/x"
    with pytest.raises(BadImage, match="not https"):
        await client.config(NAME, manifest)
    served.redirects_to = f"{served.url}/v2/team/app/blobs"  # to itself, for ever
    with pytest.raises(BadImage, match="redirects"):
        await client.config(NAME, manifest)


async def test_a_registry_that_is_not_there_is_unavailable() -> None:
    client = Registry("http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await client.manifest(NAME)
    await client.close()


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "http://h.example", "ftp://h", "https://", "https://u:p@h.example"]
)
def test_plain_http_is_for_loopback_only(url: str) -> None:
    with pytest.raises(ValueError, match="registry"):
        Registry(url)
