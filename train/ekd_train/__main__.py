"""`python -m ekd_train` runs `ekd-train`."""

import sys

from ekd_train.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
