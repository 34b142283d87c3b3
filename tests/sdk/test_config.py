"""Server and key: argument, environment, `.env`, in this order, and never a server from a file."""

import pytest

from daytona_sdk import DaytonaAuthenticationError, DaytonaBadRequestError, DaytonaConfig
from daytona_sdk._config import LOCAL_URL, read_dotenv, resolve

NOTHING = DaytonaConfig()
URL = "http://127.0.0.1:3986/api"


def test_nothing_configured_is_the_local_server_without_a_key() -> None:
    found = resolve(NOTHING, {}, {})
    assert (found.url, found.token, found.local, found.warnings) == (LOCAL_URL, None, True, ())


def test_a_key_alone_does_not_leave_this_host() -> None:
    found = resolve(DaytonaConfig(api_key="your-api-key"), {"DAYTONA_API_KEY": "k"}, {"DAYTONA_API_KEY": "k"})
    assert found.local
    assert found.token is None


@pytest.mark.parametrize(
    ("config", "environ", "dotenv", "token"),
    [
        (DaytonaConfig(api_key="a"), {"DAYTONA_API_KEY": "b"}, {"DAYTONA_API_KEY": "c"}, "a"),
        (NOTHING, {"DAYTONA_API_KEY": "b"}, {"DAYTONA_API_KEY": "c"}, "b"),
        (NOTHING, {}, {"DAYTONA_API_KEY": "c"}, "c"),
    ],
)
def test_the_key_comes_from_argument_then_environment_then_dotenv(
    config: DaytonaConfig, environ: dict[str, str], dotenv: dict[str, str], token: str
) -> None:
    assert resolve(config, {"DAYTONA_API_URL": URL, **environ}, dotenv).token == token


def test_the_url_comes_from_argument_then_environment() -> None:
    environ = {"DAYTONA_API_URL": URL, "DAYTONA_API_KEY": "k"}
    assert resolve(NOTHING, environ, {}).url == URL
    assert (
        resolve(DaytonaConfig(api_url="https://a.example/api/"), environ, {}).url == "https://a.example/api"
    )
    assert (
        resolve(DaytonaConfig(server_url="https://b.example/api"), environ, {}).url == "https://b.example/api"
    )


def test_the_older_variable_works_and_says_so() -> None:
    found = resolve(NOTHING, {"DAYTONA_SERVER_URL": URL, "DAYTONA_API_KEY": "k"}, {})
    assert found.url == URL
    assert any("DAYTONA_SERVER_URL is deprecated" in sentence for sentence in found.warnings)


@pytest.mark.parametrize("key", ["DAYTONA_API_URL", "DAYTONA_SERVER_URL"])
def test_a_url_in_dotenv_is_ignored_and_said(key: str) -> None:
    found = resolve(NOTHING, {}, {key: "https://evil.example/api", "DAYTONA_API_KEY": "k"})
    assert found.local
    assert any(f"{key} in .env is ignored" in sentence for sentence in found.warnings)


def test_a_server_without_a_key_is_refused_with_a_sentence() -> None:
    with pytest.raises(DaytonaAuthenticationError, match=r"No API key for .*DAYTONA_API_KEY"):
        resolve(NOTHING, {"DAYTONA_API_URL": URL}, {})


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3986", "ftp://host/api", "http://", "http://host/api?x=1", "unix:/x"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(DaytonaBadRequestError, match="is not an HTTP address"):
        resolve(DaytonaConfig(api_url=url, api_key="k"), {}, {})


def test_dotenv_grammar() -> None:
    text = (
        "# a comment\n\nDAYTONA_API_KEY=plain\nexport A = spaced # why\nB='single # kept'\nC=\"double\"\n"
        "no assignment\nD=\n1E=no\nF=a=b\n"
    )
    assert read_dotenv(text) == {
        "DAYTONA_API_KEY": "plain", "A": "spaced", "B": "single # kept", "C": "double", "D": "", "F": "a=b",
    }  # fmt: skip
