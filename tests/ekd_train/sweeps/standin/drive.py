"""`ekd-train` with the stand-in for the training of a cell."""

import sys

import ekd_train.sweeps.api
from ekd_train.cli.main import main

ekd_train.sweeps.api.WORK = "tests.ekd_train.sweeps.standin.standin_cells:run"

if __name__ == "__main__":
    sys.exit(main())
