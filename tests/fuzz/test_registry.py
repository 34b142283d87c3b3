"""Invariant: whatever a registry says, it is a token or manifest or configuration in bounds, or BadImage; a digest is
lower-case hex and so never a path, and a token never ends a header.
"""

import re

from hypothesis import given

from tests.fuzz.fuzzing import examples, near, nothing_but
from tidepool.images import config, registry
from tidepool.images.errors import BadImage
from tidepool.images.reference import parse_reference

DIGEST = b"sha256:" + b"a" * 64
GOOD = (
    b'{"token":"abc"}',
    b'{"access_token":"abc\\r\\nx: y","token":null}',
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x","digest":"%s",'
    b'"size":7},"layers":[{"mediaType":"y","digest":"%s","size":5}]}' % (DIGEST, DIGEST),
    b'{"manifests":[{"mediaType":"x","digest":"%s","size":7,"platform":{"os":"linux","architecture":"amd64"}}]}'
    % DIGEST,
    b'{"layers":[{"digest":"sha256:../../x","size":-1}],"config":{"digest":"","size":1e999}}',
    b'{"config":{"Env":["A=b","=","x"],"Cmd":["a"],"WorkingDir":"../x","User":"0:0","Labels":{"a":"b"},"Shell":["s"]}}',
    b'{"config":{"Env":null,"Cmd":"text","Entrypoint":[1]}}',
)
_HEX = re.compile(r"sha256:[0-9a-f]{64}")


@examples(200)
@given(near(*GOOD))
def test_what_a_registry_says(data: bytes) -> None:
    token = nothing_but(BadImage, lambda: registry._token(data))
    assert token is None or (token.isascii() and token.isprintable())
    document = nothing_but(BadImage, lambda: registry._decode(data))
    if document is None:
        return
    if document.config is not None:
        manifest = nothing_but(BadImage, lambda: registry._checked("sha256:x", document))
        for blob in () if manifest is None else (manifest.config, *manifest.layers):
            assert _HEX.fullmatch(blob.digest)
            assert 0 <= blob.size <= registry.MAX_LAYER_BYTES
    digest = nothing_but(BadImage, lambda: registry._for_platform(document, parse_reference("a")))
    assert digest is None or _HEX.fullmatch(digest)


@examples(150)
@given(near(*GOOD))
def test_the_configuration_of_an_image(data: bytes) -> None:
    found = nothing_but(BadImage, lambda: config.from_oci(data))
    if found is not None:
        assert not any(
            "\0" in text or "=" in name for name, text in found.env.items() for _ in (0,) if "=" in name
        )
        assert config.decode(config.encode(found)) == found
