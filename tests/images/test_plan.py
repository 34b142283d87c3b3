"""Stages as actions: what is expanded with what, and what is refused before anything runs."""

import pytest

from tidepool.images.config import ImageConfig, decode, encode, from_oci
from tidepool.images.dockerfile import parse
from tidepool.images.errors import BadDockerfile, BadImage
from tidepool.images.plan import PATH, Plan, base_of, globals_of, plan_of

BASE = ImageConfig(
    env={"A": "base", "PATH": "/bin"}, work_dir="/w", user="app", cmd=("old",), labels={"l": "1"}
)


def planned(text: str, base: ImageConfig = BASE) -> Plan:
    """The last stage's plan."""
    file = parse(text)
    return plan_of(file.stages[-1], base, globals_of(file), file.escape)


def test_the_configuration_is_inherited_and_changed() -> None:
    config = planned(
        "FROM x\nENV A=1 B=$A\nENV PATH=/opt:$PATH\nENTRYPOINT run me\nLABEL l=$B m=2\nUSER root"
    ).config
    assert config == ImageConfig(
        env={"A": "1", "B": "base", "PATH": "/opt:/bin"},
        work_dir="/w",
        user="root",
        entrypoint=("/bin/sh", "-c", "run me"),
        cmd=None,
        labels={"l": "base", "m": "2"},
    )
    assert planned("FROM x\nENV PATH=/opt:$PATH", ImageConfig()).config.env == {"PATH": f"/opt:{PATH}"}


def test_arguments_are_there_for_steps_and_not_for_the_image() -> None:
    plan = planned("ARG V=1 W=9\nFROM x\nARG V\nARG U=$V$W\nRUN a\nENV V=env\nRUN b", ImageConfig())
    assert [action.env for action in plan.actions] == [{"V": "1", "U": "1"}, {"V": "env", "U": "1"}]
    assert plan.config.env == {"V": "env"}


def test_steps_know_where_and_as_whom_they_run() -> None:
    plan = planned(
        'FROM x\nWORKDIR sub\nRUN a\nUSER 1:2\nSHELL ["bash", "-ec"]\nRUN b\nRUN ["c", "$A"]\nWORKDIR /abs/'
    )
    assert [(action.work_dir, action.user, action.argv) for action in plan.actions] == [
        ("/w/sub", "app", ()),
        ("/w/sub", "app", ("/bin/sh", "-c", "a")),
        ("/w/sub", "1:2", ("bash", "-ec", "b")),
        ("/w/sub", "1:2", ("c", "$A")),
        ("/abs", "1:2", ()),
    ]


@pytest.mark.parametrize(
    ("line", "destination"),
    [
        ("COPY a .", "/w/"),
        ("COPY a b", "/w/b"),
        ("COPY a b/", "/w/b/"),
        ("COPY a /", "/"),
        ("COPY a ../..", "/"),
        ("COPY a $A/x", "/w/base/x"),
        ('COPY ["a b", "/c d"]', "/c d"),
        ("ADD a /x/./y/", "/x/y/"),
    ],
)
def test_where_copy_goes(line: str, destination: str) -> None:
    assert planned(f"FROM x\n{line}").actions[0].destination == destination


@pytest.mark.parametrize(
    "line",
    [
        "COPY a b c",
        "COPY --chown=a:b:c a b",
        "COPY --chown=5000 a b",
        "COPY --chmod=u+x a b",
        "ADD https://x.example/y /y",
        "RUN --mount=type=secret,id=x true",
        "RUN --security=insecure true",
        "USER a b",
        "USER 99999",
        "ENV A=${x",
    ],
)
def test_what_is_not_allowed_is_said_with_its_line(line: str) -> None:
    with pytest.raises(BadDockerfile, match="line 2"):
        planned(f"FROM x\n{line}")


def test_the_base_can_come_from_an_argument() -> None:
    file = parse("ARG TAG=3\nFROM python:${TAG:-x}-slim\nFROM $NONE")
    assert base_of(file.stages[0], globals_of(file), file.escape) == "python:3-slim"
    with pytest.raises(BadDockerfile, match="nothing is left"):
        base_of(file.stages[1], globals_of(file), file.escape)


def test_every_step_has_a_fingerprint_of_its_own() -> None:
    lines = ["RUN a", "RUN b", "COPY a /b", "COPY a /c", "COPY --chmod=600 a /b", "ADD a /b", "WORKDIR /b"]
    found = {str(planned(f"FROM x\n{line}").actions[0].fingerprint) for line in lines}
    assert len(found) == len(lines)
    with_env = planned("FROM x\nENV Z=1\nRUN a").actions[0].fingerprint
    assert with_env != planned("FROM x\nRUN a").actions[0].fingerprint


def test_configurations_of_images_are_read() -> None:
    data = (
        b'{"config":{"Env":["A=1=2","bad key=1"],"WorkingDir":"/x","User":"0","Entrypoint":["a"],"Cmd":null}}'
    )
    found = from_oci(data)
    assert (found.env, found.work_dir, found.entrypoint, found.cmd, found.runs_as_root) == (
        {"A": "1=2"},
        "/x",
        ("a",),
        None,
        True,
    )
    assert decode(encode(found)) == found


@pytest.mark.parametrize("data", [b"", b"[]", b'{"config":{"Env":[1]}}', b'{"config":{"WorkingDir":"x"}}'])
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        from_oci(data)
