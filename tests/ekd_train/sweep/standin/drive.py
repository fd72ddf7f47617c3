"""`ekd-train` with the stand-in for the training of a cell."""

import sys

import ekd_train.sweep.cli
from ekd_train.cli import main

ekd_train.sweep.cli.WORK = "standin_cells:run"

if __name__ == "__main__":
    sys.exit(main())
