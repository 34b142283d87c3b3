"""A stage as actions: everything expanded, so that what is wrong is known before anything runs. Pure.

Instructions that only say how an image is run (ENV, USER, CMD, ...) become the configuration; the others become
`Action`s, each with the environment, user and directory that hold where it stands.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidepool.images.config import SHELL, ImageConfig
from tidepool.images.dockerfile import Dockerfile, Instruction, Stage, arguments, operands, pairs
from tidepool.images.errors import BadDockerfile
from tidepool.images.layers import MAX_ID
from tidepool.images.words import BadWord, expand

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What `$PATH` stands for where neither image nor Dockerfile has set it."""
_MODE = re.compile(r"[0-7]{3,4}\Z")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?\Z")


@dataclass(frozen=True)
class Action:
    """Something that changes files."""

    step: Instruction
    work_dir: str
    """Absolute."""
    user: str
    env: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    """RUN: the program and its arguments."""
    sources: tuple[str, ...] = ()
    """COPY and ADD: patterns below the context."""
    files: tuple[tuple[str, str], ...] = ()
    """COPY and ADD: names and contents given by heredocs."""
    destination: str = ""
    """COPY and ADD: absolute; ends in `/` where a directory is meant. WORKDIR: the directory to be made."""
    origin: str = ""
    """COPY: the stage or image it comes from; empty: the context."""
    owner: str = ""
    mode: int | None = None

    @property
    def fingerprint(self) -> list[object]:
        """What it does, as far as the Dockerfile decides it."""
        return [
            self.step.keyword,
            self.work_dir,
            self.user,
            sorted(self.env.items()),
            self.argv,
            self.sources,
            self.files,
            self.destination,
            self.owner,
            self.mode,
        ]


@dataclass(frozen=True)
class Plan:
    """A whole stage."""

    actions: tuple[Action, ...]
    config: ImageConfig


def globals_of(file: Dockerfile) -> dict[str, str]:
    """The arguments before the first FROM with their defaults.

    Raises:
        BadDockerfile: A default cannot be expanded.
    """
    found: dict[str, str] = {}
    for step in file.arguments:
        for name, default in arguments(step, file.escape):
            found[name] = _expanded(step, default or "", found, file.escape)
    return found


def base_of(stage: Stage, values: Mapping[str, str], escape: str) -> str:
    """The image that a stage starts from.

    Raises:
        BadDockerfile: The name cannot be expanded, or nothing is left of it.
    """
    try:
        name = expand(stage.base, values, escape)
    except BadWord as error:
        raise BadDockerfile(stage.line, str(error)) from None
    if not name:
        raise BadDockerfile(stage.line, f"nothing is left of the image's name {stage.base[:80]!r}")
    return name


def plan_of(stage: Stage, base: ImageConfig, values: Mapping[str, str], escape: str) -> Plan:
    """What a stage does, from a base with this configuration.

    Args:
        stage: The stage.
        base: How programs in its base are run.
        values: The arguments before the first FROM.
        escape: The file's escape character.

    Raises:
        BadDockerfile: Something cannot be expanded or is not allowed; the message names the line.
    """
    planner = _Planner(base, values, escape)
    for step in stage.steps:
        planner.take(step)
    return Plan(tuple(planner.actions), planner.config())


class _Planner:
    def __init__(self, base: ImageConfig, values: Mapping[str, str], escape: str) -> None:
        self.actions: list[Action] = []
        self._globals = values
        self._escape = escape
        self._env = dict(base.env)
        self._arguments: dict[str, str] = {}
        self._labels = dict(base.labels)
        self._work_dir = base.work_dir
        self._user = base.user
        self._entrypoint, self._cmd, self._shell = base.entrypoint, base.cmd, base.shell or SHELL

    def config(self) -> ImageConfig:
        return ImageConfig(
            env=self._env,
            work_dir=self._work_dir,
            user=self._user,
            entrypoint=self._entrypoint,
            cmd=self._cmd,
            labels=self._labels,
            shell=self._shell,
        )

    def take(self, step: Instruction) -> None:
        handle = getattr(self, f"_on_{step.keyword.lower()}", None)
        if handle is not None:  # the others say nothing that a sandbox has a use for
            handle(step)

    def _value(self, step: Instruction, word: str) -> str:
        variables = {"PATH": PATH} | self._arguments | self._env
        return _expanded(step, word, variables, self._escape)

    def _on_env(self, step: Instruction) -> None:
        found = [(name, self._value(step, value)) for name, value in pairs(step, self._escape)]
        self._env.update(found)

    def _on_arg(self, step: Instruction) -> None:
        for name, default in arguments(step, self._escape):
            if default is not None:
                self._arguments[name] = self._value(step, default)
            elif name in self._globals:
                self._arguments[name] = self._globals[name]

    def _on_label(self, step: Instruction) -> None:
        for name, value in pairs(step, self._escape):
            self._labels[name] = self._value(step, value)

    def _on_user(self, step: Instruction) -> None:
        user = self._value(step, step.text)
        self._user = _owner(step, user)

    def _on_workdir(self, step: Instruction) -> None:
        path = self._value(step, step.text)
        self._work_dir = posixpath.normpath(posixpath.join(self._work_dir or "/", path))
        self.actions.append(self._action(step, destination=self._work_dir))

    def _on_shell(self, step: Instruction) -> None:
        self._shell = step.argv or SHELL

    def _on_entrypoint(self, step: Instruction) -> None:
        self._entrypoint, self._cmd = self._program(step), None

    def _on_cmd(self, step: Instruction) -> None:
        self._cmd = self._program(step)

    def _program(self, step: Instruction) -> tuple[str, ...] | None:
        if step.argv is not None:
            return step.argv or None
        return (*self._shell, step.text) if step.text else None

    def _on_run(self, step: Instruction) -> None:
        for flag, value in step.flags:
            kind = dict(part.partition("=")[::2] for part in value.split(",")).get("type", "bind")
            if flag == "mount" and kind not in ("cache", "tmpfs"):
                raise BadDockerfile(
                    step.line, f"RUN --mount=type={kind[:20]} is not supported; cache and tmpfs are"
                )
            if flag == "security" and value != "sandbox":
                raise BadDockerfile(step.line, f"RUN --security={value[:20]} is not supported")
        argv = step.argv if step.argv is not None else (*self._shell, _script(step))
        self.actions.append(self._action(step, argv=argv, env={**self._arguments, **self._env}))

    def _on_copy(self, step: Instruction) -> None:
        *sources, destination = (self._value(step, word) for word in self._operands(step))
        target = posixpath.join(self._work_dir or "/", destination)
        is_directory = destination.endswith(("/", "/.")) or destination == "."
        target = posixpath.normpath(target).rstrip("/") + ("/" if is_directory else "")
        if len(sources) + len(step.heredocs) > 1 and not is_directory:
            raise BadDockerfile(
                step.line, f"with several sources the destination {destination[:80]!r} must end in /"
            )
        owner, mode = self._value(step, step.flag("chown")), self._value(step, step.flag("chmod"))
        if mode and not _MODE.match(mode):
            raise BadDockerfile(step.line, f"--chmod={mode[:80]} is not an octal number such as 755")
        if step.keyword == "ADD" and any("://" in source or source.startswith("git@") for source in sources):
            raise BadDockerfile(
                step.line, "ADD of a URL is not supported: build sandboxes reach package indexes only"
            )
        self.actions.append(
            self._action(
                step,
                sources=tuple(sources),
                files=tuple((doc.name, self._heredoc(step, doc.body, doc.expands)) for doc in step.heredocs),
                destination=target or "/",
                origin=self._value(step, step.flag("from")),
                owner=_owner(step, owner) if owner else "",
                mode=int(mode, 8) & 0o1777 if mode else None,
            )
        )

    _on_add = _on_copy

    def _operands(self, step: Instruction) -> tuple[str, ...]:
        words = operands(step, self._escape)
        return tuple(word for word in words if not (step.heredocs and word.startswith("<<")))

    def _heredoc(self, step: Instruction, body: str, expands: bool) -> str:
        # Quotes mean nothing in a heredoc: only variables are replaced.
        return self._value(step, '"' + body.replace('"', f'{self._escape}"') + '"') if expands else body

    def _action(self, step: Instruction, **more: object) -> Action:
        return Action(step, self._work_dir or "/", self._user, **more)  # type: ignore[arg-type]


def _owner(step: Instruction, text: str) -> str:
    if not _OWNER.match(text):
        raise BadDockerfile(step.line, f"{text[:80]!r} is not USER or USER:GROUP, such as app or 1000:1000")
    for one in text.split(":"):
        if one.isdecimal() and int(one) > MAX_ID:
            raise BadDockerfile(
                step.line, f"{one[:20]} is not an id that a sandbox has; the highest is {MAX_ID}"
            )
    return text


def _script(step: Instruction) -> str:
    """What the shell is given: a heredoc alone is the script itself."""
    if len(step.heredocs) == 1 and len(step.text.split()) == 1:
        return step.heredocs[0].body
    return "\n".join([step.text, *(f"{doc.body}{doc.name}" for doc in step.heredocs)])


def _expanded(step: Instruction, word: str, variables: Mapping[str, str], escape: str) -> str:
    try:
        return expand(word, variables, escape)
    except BadWord as error:
        raise BadDockerfile(step.line, str(error)) from None
