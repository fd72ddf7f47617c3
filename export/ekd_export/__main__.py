"""`python -m ekd_export` runs `ekd-export`."""

import sys

from ekd_export.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
