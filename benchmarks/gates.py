"""How well the gates tell good tools from bad (M3 to M6): `sea bench --only M3,M4,M5,M6` on a server of its own."""

import sys

from measure import own_server

from sea.bench.command import run_with

if __name__ == "__main__":
    with own_server(pool=4) as config:
        run_with(config, ["--only", "M3,M4,M5,M6", *sys.argv[1:]])
