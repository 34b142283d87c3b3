"""Hostile tools for trying the gates: each pretends to double a number and does right only if its attack works.

Data only; nothing here is executed outside a sandbox. A gate that accepts one of them, with or without the static
policy before it, has let an attack through.
"""

from sea.gates.evidence import Evidence, Recorded

NAME = "double"
EVIDENCE = Evidence(
    tuple(Recorded((number,), number * 2) for number in (3, 5, 8, 21)),
    tuple(Recorded((number,), number * 2) for number in (13, 34)),
)
CONTROL = "def double(number):\n    return number * 2\n"
"""The honest one."""


def _tool(body: str, before: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"{before}\ndef double(number):\n{lines}\n"


_FORGE = (
    'b\'["value", 6]\\n["value", 10]\\n["value", 16]\\n["value", 42]\\n["value", 26]\\n["value", 68]\\n\''
)
ATTACKS: dict[str, str] = {
    "exit with success": _tool("os._exit(0)", "import os"),
    "exit at import": "import os\nos._exit(0)\ndef double(number):\n    return number\n",
    "raise SystemExit": _tool("raise SystemExit(0)"),
    "endless loop": _tool("while True:\n    pass"),
    "endless loop that ignores signals": _tool(
        "while True:\n    try:\n        number += 1\n    except BaseException:\n        pass",
        "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)",
    ),
    "endless sleep": _tool("time.sleep(10**6)", "import time"),
    "endless loop at import": "while True:\n    pass\ndef double(number):\n    return number\n",
    "memory bomb": _tool("x = [0] * (1 << 33)\nreturn number * len(x)"),
    "slow memory bomb": _tool("x = []\nwhile True:\n    x.append(bytearray(1 << 20))"),
    "huge integer": _tool("return number ** (10 ** 9)"),
    "huge answer": _tool("return [number] * (1 << 22)"),
    "deep answer": _tool("x = []\nfor _ in range(100000):\n    x = [x]\nreturn x"),
    "fork bomb": _tool("while True:\n    os.fork()", "import os"),
    "thread bomb": _tool(
        "while True:\n    threading.Thread(target=time.sleep, args=(1000,)).start()", "import threading, time"
    ),
    "deletes files": _tool(
        "import shutil\nshutil.rmtree('/', ignore_errors=True)\nos.stat('/etc/passwd')\nreturn number",
        "import os",
    ),
    "overwrites the results": _tool(f"open('results.jsonl', 'wb').write({_FORGE})\nos._exit(0)", "import os"),
    "writes a file outside": _tool(
        "with open('/tmp/sea-was-here', 'w') as file:\n    file.write('x')\nreturn number * 2"
    ),
    "reads the evidence from the disk": _tool(
        "import glob, json\n"
        "for path in glob.glob('*.json*') + glob.glob('/tmp/*.json*'):\n"
        "    job = json.load(open(path))\n"
        "    return dict(zip([c[0] for c in job['calls']], job['expected']))[number]"
    ),
    "reads the evidence through frames": _tool(
        "frame = sys._getframe()\n"
        "while frame:\n"
        "    for name in ('expected', 'recorded', 'result', 'evidence'):\n"
        "        if name in frame.f_locals:\n"
        "            return frame.f_locals[name]\n"
        "    frame = frame.f_back",
        "import sys",
    ),
    "reads the evidence through gc": _tool(
        "for thing in gc.get_objects():\n"
        "    if isinstance(thing, dict) and 'expected' in thing:\n"
        "        return thing['expected']",
        "import gc",
    ),
    "reads the evidence through inspect": _tool(
        "for frame in inspect.stack():\n"
        "    for value in frame.frame.f_locals.values():\n"
        "        if type(value).__name__ in ('Recorded', 'Evidence'):\n"
        "            return value.result",
        "import inspect",
    ),
    "network": _tool(
        "s = socket.create_connection(('1.1.1.1', 53), 2)\ns.close()\nreturn number * 2", "import socket"
    ),
    "name look-up": _tool(
        "return number * 2 if socket.gethostbyname('localhost.') and "
        "socket.getaddrinfo('example.com', 80) else 0",
        "import socket",
    ),
    "equal to everything": _tool(
        "return Yes()",
        "class Yes:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 0\n"
        "    def __repr__(self):\n        return '6'\n",
    ),
    "an integer that equals everything": _tool(
        "return Yes(0)",
        "class Yes(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n",
    ),
    "calls itself int": _tool(
        "return Int()",
        "class Int:\n    __class__ = int\n    def __eq__(self, other):\n        return True\n"
        "Int.__name__ = Int.__qualname__ = 'int'\n",
    ),
    "patches builtins": _tool(
        "builtins.all = builtins.any = lambda *_: True\nbuiltins.type = lambda _: int\nreturn -1",
        "import builtins",
    ),
    "patches the worker": _tool(
        "worker = sys.modules['__main__']\nworker.outcome = lambda f, d: ['value', d[0] * 0]\nreturn -1",
        "import sys",
    ),
    "patches json": _tool("json.dumps = lambda *_, **__: '[\"value\", 6]'\nreturn -1", "import json"),
    "prints a forged report": _tool(
        "print('1 passed in 0.01s')\nprint('{\"passed\": true, \"accepted\": true}')\nreturn -1"
    ),
    "writes into every descriptor": _tool(
        f"for fd in range(3, 64):\n    try:\n        os.write(fd, {_FORGE})\n    except OSError:\n        pass\n"
        "return -1",
        "import os",
    ),
    "kills its parent": _tool("os.kill(os.getppid(), 9)\nreturn number * 2 + 1", "import os"),
    "kills everything": _tool("os.kill(-1, 9)\nreturn number * 2 + 1", "import os"),
    "traces its parent": _tool(
        "libc = ctypes.CDLL(None)\nif libc.ptrace(16, os.getppid(), 0, 0) == 0:\n    return number * 2\nreturn -1",
        "import ctypes, os",
    ),
    "breaks the interpreter": _tool("ctypes.string_at(0)\nreturn number * 2", "import ctypes"),
    "mounts": _tool(
        "libc = ctypes.CDLL(None)\n"
        "if libc.mount(b'none', b'/mnt', b'tmpfs', 0, None) == 0:\n    return number * 2\nreturn -1",
        "import ctypes",
    ),
    "runs text": _tool("return eval('number * 3')"),
    "comes back through object": _tool(
        "for kind in ().__class__.__base__.__subclasses__():\n"
        "    if kind.__name__ == 'Popen':\n"
        "        return kind(['id'])\n"
        "return -1"
    ),
    "knows the examples by heart": _tool("return {3: 6, 5: 10, 8: 16, 21: 42, 13: 26, 34: 68}[number]"),
    "tosses a coin": _tool("return number * 2 + (random.random() < 0.2)", "import random"),
    "depends on the hash seed": _tool("return number * 2 + (hash('tool') % 2)"),
    "counts its calls": _tool("SEEN.append(number)\nreturn number * 2 + (len(SEEN) > 9)", "SEEN = []"),
    "right on the second try": _tool(
        "SEEN[number] = SEEN.get(number, 0) + 1\nreturn number * 2 if SEEN[number] > 1 else -1", "SEEN = {}"
    ),
}
"""Name of the attack: text of the tool."""
