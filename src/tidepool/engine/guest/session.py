"""The driver of a session: one shell in which commands run one after the other, their exit codes told out of band.

Started as a program text. Lines of JSON come on stdin: `{"id": 1, "command": "..."}`, `{"input": "..."}`; one line per
ended command goes to descriptor 4: `{"id": 1, "code": 0}`, and `{"ended": 0}` when the shell has ended. The shell and
all it runs write to the driver's own stdout and stderr.
"""

import json
import os
import select
import subprocess
import sys

ANSWERS_FD = 4
_COMMANDS_FD, _CODES_FD = 10, 11
# What a command does to variables, functions and the working directory stays; it sees neither descriptor of ours.
_BASH = (
    f"while IFS= read -r -d '' -u {_COMMANDS_FD} __command; do eval \"$__command\" {_COMMANDS_FD}<&- {_CODES_FD}>&-; "
    f"printf '%s\\n' \"$?\" >&{_CODES_FD}; done"
)
_SH = (
    f'while IFS= read -r __file <&{_COMMANDS_FD}; do eval "$(cat "$__file")" {_COMMANDS_FD}<&- {_CODES_FD}>&-; '
    f"printf '%s\\n' \"$?\" >&{_CODES_FD}; done"
)


def main() -> None:
    """Serve until stdin ends or the shell does."""
    commands_read, commands = os.pipe()
    codes, codes_write = os.pipe()
    shell_stdin, user_input = os.pipe()
    is_bash = os.path.exists("/bin/bash")

    def place() -> None:
        os.dup2(commands_read, _COMMANDS_FD)
        os.dup2(codes_write, _CODES_FD)

    argv = ["/bin/bash", "-c", _BASH] if is_bash else ["/bin/sh", "-c", _SH]
    shell = subprocess.Popen(
        argv, stdin=shell_stdin, preexec_fn=place, pass_fds=(_COMMANDS_FD, _CODES_FD), close_fds=True
    )
    for fd in (commands_read, codes_write, shell_stdin):
        os.close(fd)
    _serve(commands, codes, user_input, is_bash)
    _say({"ended": shell.wait()})


def _serve(commands: int, codes: int, user_input: int, is_bash: bool) -> None:
    requests, ended = b"", b""
    running: list[int] = []
    while True:
        readable, _, _ = select.select([0, codes], [], [])
        if codes in readable:
            data = os.read(codes, 4096)
            if not data:
                return
            *lines, ended = (ended + data).split(b"\n")
            for line in lines:
                _say({"id": running.pop(0), "code": int(line)})
        if 0 in readable:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, requests = (requests + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "command" in request:
                    running.append(request["id"])
                    _write(commands, _order(request["command"], request["id"], is_bash))
                else:
                    _write(user_input, request["input"].encode("utf-8", "surrogateescape"))


def _order(command: str, number: int, is_bash: bool) -> bytes:
    data = command.encode("utf-8", "surrogateescape").replace(b"\0", b"")
    if is_bash:
        return data + b"\0"
    path = f"/tmp/.session-{os.getpid()}-{number}"
    with open(path, "wb") as file:
        file.write(data)
    return path.encode() + b"\n"


def _write(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        return  # the shell has gone: its end is told next


def _say(answer: dict[str, int]) -> None:
    os.write(ANSWERS_FD, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
    sys.exit(0)
