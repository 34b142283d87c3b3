"""The pure half of layers: what is the same wish, what is the same layer, and what the resolver meant."""

import pytest

from tidepool.engine.errors import DependencyFailed
from tidepool.engine.layers import layer_name, normalise, quick_key, resolver_sentence

SAME = [
    (["PyTest"], ["pytest"]),
    (["a", "b"], ["b", "a", "a"]),
    (["Foo_Bar.baz"], ["foo-bar-baz"]),
    (["six >= 1.0 , < 2"], ["six<2,>=1.0"]),
    (["a[X_y]"], ["A[x-y]"]),
    ([" six "], ["six"]),
    (['six; python_version > "3"'], ["six;python_version>'3'"]),
]
DIFFERENT = [(["a"], ["b"]), (["a"], ["a", "b"]), (["a==1"], ["a==2"]), (["a[x]"], ["a"]), (["a"], ["a<2"])]
BAD = [
    "",
    "-r x",
    "--index-url=x",
    "six @ https://example.com/six.whl",
    "a b",
    "../x",
    "six==",
    "a;b",
    "a\nb",
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_wish(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_wishes(one, other):
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_requirement_is_named(text):
    with pytest.raises(DependencyFailed) as caught:
        normalise(["six", text])
    assert repr(text[:100]) in str(caught.value)


def test_a_key_changes_with_everything_that_changes_the_layer():
    base = (("six",), "3.11", "x86_64", "index")
    keys = {quick_key(*base)}
    keys |= {
        quick_key(*base[:n], other, *base[n + 1 :])
        for n, other in enumerate([("a",), "3.12", "aarch64", "other"])
    }
    assert len(keys) == 5
    assert quick_key(*base) == quick_key(*base)
    names = {
        layer_name(*facts)
        for facts in [("l", "3.11", "m"), ("k", "3.11", "m"), ("l", "3.12", "m"), ("l", "3.11", "n")]
    }
    assert len(names) == 4
    assert all(name.isalnum() and len(name) == 32 for name in keys | names)


UV = """\x1b[31m  × No solution found when resolving dependencies:
  ╰─▶ Because no-such-thing was not found in the package registry and you
      require no-such-thing, we can conclude that your requirements are
      unsatisfiable.
""".encode()


def test_the_resolvers_sentence_is_one_line():
    assert resolver_sentence(UV) == (
        "No solution found when resolving dependencies: Because no-such-thing was not found in the package registry and"
        " you require no-such-thing, we can conclude that your requirements are unsatisfiable."
    )
    assert resolver_sentence(b"") == "the installer gave no reason"
    assert len(resolver_sentence(b"x" * 10_000)) == 2000
