"""`python -m ekd_train` runs `ekd-train`."""

import sys

from ekd_train.cli.main import main

sys.exit(main())
