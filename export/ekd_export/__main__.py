"""`python -m ekd_export` runs `ekd-export`."""

import sys

from ekd_export.cli.main import main

sys.exit(main())
