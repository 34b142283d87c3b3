"""What may be asked for: the grammar as a table, and that nothing else ever gets through."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidepool.egress.refusal import Refusal
from tidepool.egress.target import NpmPackage, NpmTarball, Project, ProjectFile, parse_target

GOOD = {
    b"/simple/six/": Project("six"),
    b"/simple/six": Project("six"),
    b"/simple/Foo_Bar.baz/": Project("foo-bar-baz"),
    b"/simple/%73ix/": Project("six"),
    b"/files/0/six/six-1.17.0-py2.py3-none-any.whl": ProjectFile(0, "six", "six-1.17.0-py2.py3-none-any.whl"),
    b"/files/12/torch/torch-2.1%2Bcpu.whl": ProjectFile(12, "torch", "torch-2.1+cpu.whl"),
    b"/files/0/six/six-1!1.0.tar.gz": ProjectFile(0, "six", "six-1!1.0.tar.gz"),
    b"/npm/left-pad": NpmPackage("left-pad"),
    b"/npm/@scope%2fname": NpmPackage("@scope/name"),
    b"/npm/@scope%2Fname": NpmPackage("@scope/name"),
    b"/npm/@scope/name": NpmPackage("@scope/name"),
    b"/npm/left-pad/-/left-pad-1.3.0.tgz": NpmTarball("left-pad", "left-pad-1.3.0.tgz"),
    b"/npm/@scope/name/-/name-1.0.0.tgz": NpmTarball("@scope/name", "name-1.0.0.tgz"),
}
BAD = [
    b"", b"*", b"simple/six", b"/", b"//", b"/simple", b"/simple/", b"/simple//six/", b"/simple/six//",
    b"/simple/-six/",     b"/simple/six./", b"/simple/six/x", b"/files/0/six",
    b"/files/0/six/.hidden", b"/files/0/six/-x",
    b"/files/x/six/a.whl",
    b"/files/0/six/a%2fb.whl", b"/files/123/six/a.whl", b"/npm/", b"/npm/-/v1/search", b"/npm/a%2fb", b"/npm/@scope",
    b"/npm/@scope%252fname", b"/npm/@scope/name/x", b"/npm/a/-/../b", b"/simple/six/?a=b", b"/simple/six/#a",
    b"/simple/si%gx/", b"/simple/six%", b"/SIMPLE/six/", b"/simple/s\xc3\xbcx/", b"/simple/%ff/", b"/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("raw", GOOD)
def test_asked_for(raw):
    assert parse_target(raw) == GOOD[raw]


@pytest.mark.parametrize("raw", BAD)
def test_refused(raw):
    with pytest.raises(Refusal) as caught:
        parse_target(raw)
    assert 400 <= caught.value.status < 500


@given(
    st.lists(
        st.sampled_from(
            [b"/", b".", b"%2f", b"%2e", b"%00", b"simple", b"files", b"npm", b"0", b"a", b"@", b"-", b"%"]
        )
    )
    .map(b"".join)
    .map(b"/".__add__)
)
def test_whatever_comes_out_is_plain(raw):
    try:
        target = parse_target(raw)
    except Refusal:
        return
    for value in vars(target).values():
        text = str(value)
        assert re.fullmatch(r"(@[\w.~-]+/)?[\w.+!~-]+", text, re.ASCII)
        assert text not in (".", "..")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_target_or_a_refusal(raw):
    try:
        parse_target(b"/" + raw)
    except Refusal:
        return
