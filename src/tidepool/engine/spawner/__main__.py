"""`python -m tidepool.engine.spawner FD`: started by the engine only."""

import sys

from tidepool.engine.spawner.guardian import main

main(int(sys.argv[1]))
