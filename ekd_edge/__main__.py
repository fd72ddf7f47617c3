"""`python -m ekd_edge` runs `ekd-edge`."""

import sys

from ekd_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
