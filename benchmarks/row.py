"""Measures one row in a process of its own: `row.py NAME` with the terms as JSON on standard input.

The outcome is one line of JSON on standard output, nothing else goes there; `rows` has what there is.
"""

import json
import sys
from pathlib import Path

from outcome import Terms
from rows import ROWS


def main(name: str) -> None:
    """Measure and write."""
    given = json.load(sys.stdin)
    terms = Terms(**{**given, "data": Path(given["data"])})
    print(json.dumps(ROWS[name].measure(terms).as_json()))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
