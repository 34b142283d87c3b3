"""What pip's, uv's and npm's settings mean for the proxy: files and variables in, indexes out."""

from base64 import b64encode

import pytest

from tidepool.egress.host import read_host
from tidepool.egress.indexes import PUBLIC_NPM_REGISTRY, PUBLIC_PYTHON_INDEX, Host, HostIndexes

PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
def read(tmp_path):
    """Reads a host with these files (path below its root: text) and variables."""

    def read(files=(), **env):
        for name, text in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        env = {key: value.replace("ROOT", str(tmp_path)) for key, value in env.items()}
        return read_host(Host(env=env, home=tmp_path / "home", root=tmp_path, prefix=tmp_path / "prefix"))

    return read


def urls(indexes):
    return [index.url for index in indexes.python]


def test_nothing_configured_is_the_public_indexes(read):
    found = read()
    assert urls(found) == [PUBLIC_PYTHON_INDEX]
    # Empty where there is no npm to say what its default is.
    assert [index.url for index in found.npm] == [url for url in [PUBLIC_NPM_REGISTRY] if url]
    assert (found.ignored, found.merge) == ((), False)


PIP_PRECEDENCE = [
    ("etc/xdg/pip/pip.conf", "https://a.example/xdg"),
    ("etc/pip.conf", "https://a.example/etc"),
    ("home/.pip/pip.conf", "https://a.example/legacy"),
    ("home/.config/pip/pip.conf", "https://a.example/user"),
    ("prefix/pip.conf", "https://a.example/site"),
]


@pytest.mark.parametrize("count", range(1, len(PIP_PRECEDENCE) + 1))
def test_the_nearer_pip_file_wins(read, count):
    files = {path: f"[global]\nindex-url = {url}\n" for path, url in PIP_PRECEDENCE[:count]}
    assert urls(read(files)) == [PIP_PRECEDENCE[count - 1][1]]


def test_pips_sections_variables_and_files_of_its_own(read):
    files = {
        "etc/pip.conf": "[global]\nindex-url = https://a.example/g\n[install]\nindex_url = https://a.example/i\n"
    }
    assert urls(read(files)) == ["https://a.example/i"]
    assert urls(read(files, PIP_INDEX_URL="https://a.example/env/")) == ["https://a.example/env"]
    files["venv/pip.conf"] = "[global]\nindex-url = https://a.example/venv\n"
    assert urls(read(files, VIRTUAL_ENV="ROOT/venv")) == ["https://a.example/venv"]
    files["own.conf"] = "[global]\nindex-url = https://a.example/own\n"
    assert urls(read(files, PIP_CONFIG_FILE="ROOT/own.conf")) == ["https://a.example/own"]
    assert urls(read(files, PIP_CONFIG_FILE="/dev/null")) == [PUBLIC_PYTHON_INDEX]


def test_extra_indexes_come_before_the_default_one(read):
    files = {
        "etc/pip.conf": "[global]\nextra-index-url =\n    https://a.example/1\n    https://a.example/2\n"
    }
    assert urls(read(files)) == ["https://a.example/1", "https://a.example/2", PUBLIC_PYTHON_INDEX]
    assert urls(read(files, UV_EXTRA_INDEX_URL="https://a.example/0 https://a.example/2/")) == [
        "https://a.example/0",
        "https://a.example/2",
        "https://a.example/1",
        PUBLIC_PYTHON_INDEX,
    ]


def test_local_places_stay_outside_and_never_become_the_public_index(read):
    found = read(
        PIP_INDEX_URL="file:///srv/simple", PIP_EXTRA_INDEX_URL="/srv/other", PIP_FIND_LINKS="/srv/wheels"
    )
    assert found.python == ()
    assert len(found.ignored) == 3
    assert not any("/srv" in sentence for sentence in found.ignored)
    assert read(PIP_NO_INDEX="1").python == ()
    assert read({"home/.config/uv/uv.toml": "no-index = true\n"}).python == ()


def test_uv_settings(read):
    toml = """
index-strategy = "unsafe-best-match"
[[index]]
name = "corp"
url = "https://u.example/corp"
[[index]]
name = "pinned"
url = "https://u.example/pinned"
explicit = true
[[index]]
url = "https://u.example/default"
default = true
"""
    found = read(
        {"home/.config/uv/uv.toml": toml}, UV_INDEX_CORP_USERNAME="me", UV_INDEX_CORP_PASSWORD="p@ss"
    )
    assert urls(found) == ["https://u.example/corp", "https://u.example/default"]
    assert found.python[0].authorization == "Basic " + b64encode(b"me:p@ss").decode()
    assert found.python[1].authorization is None
    assert found.merge
    assert len(found.ignored) == 1
    assert not read(UV_INDEX_STRATEGY="first-index").merge
    assert urls(read(UV_NO_CONFIG="1")) == [PUBLIC_PYTHON_INDEX]
    assert urls(read(UV_DEFAULT_INDEX="https://u.example/d", PIP_INDEX_URL="https://p.example/d")) == [
        "https://u.example/corp",
        "https://u.example/d",
    ]
    found = read(
        {"home/.config/uv/uv.toml": "index-url = 'https://u.example/x'\n"}, UV_INDEX="n=https://u.example/e"
    )
    assert urls(found) == ["https://u.example/e", "https://u.example/x"]
    assert "cannot be parsed" in read({"home/.config/uv/uv.toml": "= ["}).ignored[0]


def test_credentials_leave_the_url(read):
    found = read(PIP_INDEX_URL="https://me:s%40crt@p.example:8443/simple/")
    assert urls(found) == ["https://p.example:8443/simple"]
    assert found.python[0].authorization == "Basic " + b64encode(b"me:s@crt").decode()
    assert "crt" not in repr(found)
    again = read(
        {"home/.netrc": "machine p.example login you password word\n"},
        PIP_INDEX_URL="https://p.example/simple",
    )
    assert again.python[0].authorization == "Basic " + b64encode(b"you:word").decode()
    assert (
        read({"home/.netrc": "machine"}, PIP_INDEX_URL="https://p.example/simple").python[0].authorization
        is None
    )


@pytest.mark.parametrize(
    "bad", ["ftp://p.example/", "https://", "https://a b/", "simple", "https://p.example/?a=b"]
)
def test_a_url_that_cannot_be_used_is_reported_and_not_repeated(read, bad):
    found = read(PIP_EXTRA_INDEX_URL="https://ok.example/simple", PIP_INDEX_URL=bad)
    assert urls(found) == ["https://ok.example/simple"]
    assert len(found.ignored) == 1
    assert bad not in found.ignored[0]


def test_certificates_are_read_as_text(read):
    files = {"ca.pem": PEM + "pip", "uv.pem": PEM + "uv", "no.pem": "nothing"}
    assert read(files, PIP_CERT="ROOT/ca.pem").python[0].ca == PEM + "pip"
    assert read(files, PIP_CERT="ROOT/ca.pem", SSL_CERT_FILE="ROOT/uv.pem").python[0].ca == PEM + "uv"
    assert read({"etc/npmrc": "cafile=ROOT/x"}).npm[0].ca is None
    missing = read(files, PIP_CERT="ROOT/no.pem")
    assert (missing.python[0].ca, len(missing.ignored)) == (None, 1)


def test_npm_settings(read, tmp_path):
    npmrc = f"""
; comment
registry = https://n.example/npm/
@corp:registry=https://c.example/npm
//n.example/npm/:_authToken=${{TOKEN}}
//c.example/:username=me
//c.example/:_password={b64encode(b"word").decode()}
cafile="{tmp_path}/ca.pem"
strict-ssl=false
"""
    found = read({"home/.npmrc": npmrc, "ca.pem": PEM}, TOKEN="tok")
    assert [(index.scope, index.url) for index in found.npm] == [
        ("@corp", "https://c.example/npm"),
        (None, "https://n.example/npm"),
    ]
    assert found.npm[0].authorization == "Basic " + b64encode(b"me:word").decode()
    assert found.npm[1].authorization == "Bearer tok"
    assert found.npm[0].ca == PEM
    assert len(found.ignored) == 1
    assert read(NPM_CONFIG_REGISTRY="https://e.example/").npm[-1].url == "https://e.example"
    files = {"etc/npmrc": "registry=https://g.example/\n", "rc": "registry=https://u.example/\n"}
    assert read(files, npm_config_userconfig="ROOT/rc").npm[-1].url == "https://u.example"


def test_the_blob_and_the_identity(read):
    one = read(PIP_INDEX_URL="https://me:word@p.example/simple")
    assert HostIndexes.decode(one.encode()) == one
    assert read(PIP_INDEX_URL="https://you:else@p.example/simple").identity() == one.identity()
    assert read(PIP_INDEX_URL="https://p.example/other").identity() != one.identity()


def test_a_proxy_in_the_environment_is_reported(read):
    assert "HTTP proxy" in read(HTTPS_PROXY="http://proxy.example:3128").ignored[0]
