"""What a library saves on unseen programs (M1, M2): `sea bench --only M1,M2` on a server of its own."""

import sys

from measure import own_server

from sea.bench.command import run_with

if __name__ == "__main__":
    with own_server(pool=1) as config:
        run_with(config, ["--only", "M1,M2", *sys.argv[1:]])
