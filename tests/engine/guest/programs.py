"""Programs that would notice if their interpreter were not fresh: run both ways, everything they show must be equal.

Their texts are in `programs.txt` and `scripts.txt`, each below a line with its name; here are those that no text file
can hold unchanged.
"""

import re
from pathlib import Path


def _read(name: str) -> dict[str, str]:
    _, *parts = re.split(r"^#### (\w+)\n", Path(__file__).with_name(name).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


TEXTS: dict[str, str] = {
    "nothing": "",
    "no_newline_at_the_end": "print(1)\nprint(2)",
    "tab_error": "if True:\n        x = 1\n\ty = 2\n",
    "null_byte": "x = 1\n\x00\n",
    "not_utf8": "x = '\udce9'\n",
    "byte_order_mark": "\ufeffprint('bom')\n",
    "crlf": "print(1)\r\nif 1:\r\n    print('''a\r\nb''')\r\n",
    "form_feed": "\x0cprint(1)\n",
    **_read("programs.txt"),
}
"""Program texts that come from nowhere, as `python -` reads them."""

SCRIPTS: dict[str, str] = {
    "latin_1": "# -*- coding: latin-1 -*-\nprint(ascii('\udce9'))\n",
    **_read("scripts.txt"),
}
"""Files run as `python script.py a -b`, with a `sibling.py` beside them."""

BROUGHT = "import sys\nbefore = set(sys.modules)\nimport {name}\nprint(sorted(set(sys.modules) - before))\n"
"""What comes in sight with an import must be what a fresh interpreter would load."""
