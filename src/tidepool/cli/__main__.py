"""`python -m tidepool.cli` is `tidepool`."""

import sys

from tidepool.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
