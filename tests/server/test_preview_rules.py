"""Previews: what is decided about requests and headers, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.server import preview
from tidepool.server.preview import SignedPreviews, Target

ID = "0a1b2c3d-0000-4000-8000-000000000000"


@given(st.binary(max_size=60), st.text(max_size=60), st.sampled_from(["", "box.test"]))
def test_any_request_has_one_target_or_none(path: bytes, host: str, domain: str) -> None:
    found = preview.target_of(path, host, domain)
    if found is not None and found.prefix:
        assert path.startswith(b"/preview/")
        assert found.prefix.encode() + found.path == path


@pytest.mark.parametrize("path", [
    b"/preview", b"/preview/", b"/preview/x", b"/preview/x/", b"/preview/x/8000x", b"/preview//8000/", b"/Preview/x/1/",
    b"/preview/../api/1/", b"/preview/x%2f/1/", b"//preview/x/1/", b"/preview/x/123456/", b"/api/preview/x/1/",
])  # fmt: skip
def test_what_only_looks_like_a_preview(path: bytes) -> None:
    assert preview.target_of(path, "", "") is None


_NAMES = st.sampled_from([b"set-cookie", b"Set-Cookie", b"location", b"Connection", b"x-a"])


@given(st.lists(st.tuples(_NAMES, st.binary(max_size=40))))
def test_no_header_of_a_guest_sets_a_cookie_of_ours(headers: list[tuple[bytes, bytes]]) -> None:
    target = Target(ID, 1, b"/", f"/preview/{ID}/1")
    for name, value in preview.headers_out(target, 200, headers):
        if name == b"set-cookie":
            assert value.startswith(b"tidepool_inside_")
            assert value.count(b"Path=") >= 1
            assert value.endswith(f"Path=/preview/{ID}/1/".encode())


_REQUEST = st.sampled_from(
    [b"connection", b"cookie", b"x-a", b"x-daytona-preview-token", b"authorization", b"te"]
)


@given(
    st.lists(st.tuples(_REQUEST, st.binary(max_size=40))),
    st.booleans(),
    st.sampled_from(["", f"/preview/{ID}/1"]),
)
def test_what_is_between_client_and_server_stays_there(
    headers: list[tuple[bytes, bytes]], keep_key: bool, prefix: str
) -> None:
    passed = preview.headers_in(Target(ID, 1, b"/", prefix), [(b"host", b"h"), *headers], "http", keep_key)
    names = [name for name, _ in passed]
    assert not {b"connection", b"te", b"x-daytona-preview-token"} & set(names)
    assert names.count(b"host") == 1
    assert names.count(b"cookie") <= 1
    assert keep_key or b"authorization" not in names
    assert all(preview.COOKIE.encode() + b"=" not in value for name, value in passed if name == b"cookie")


def test_signed_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_MAX_SIGNED", 2)
    previews = SignedPreviews()
    tokens = [previews.make(ID, 80, 10) for _ in range(2)]
    with pytest.raises(preview.NoCapacity):
        previews.make(ID, 80, 10)
    previews.forget(ID)
    assert [previews.find(token, 80) for token in tokens] == [None, None]
    assert previews.find(previews.make(ID, 80, 10), 80) == ID
