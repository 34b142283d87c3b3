"""`python -m tidepool.engine.spawner FD`: started by the engine only."""

import sys

from tidepool.engine.spawner.spawner import main

main(int(sys.argv[1]))
