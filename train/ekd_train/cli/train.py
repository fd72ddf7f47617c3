"""`ekd-train train`, the default command: train the teacher, then distill the student."""

import argparse

from ekd_edge.errors import ConfigError
from ekd_train.cli.options import (
    DEFAULT_PRESET,
    add_compute_arguments,
    add_setup_arguments,
    check_training_packages,
    config_of,
    preset_list,
    print_run,
    resume_hint,
)
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  ekd-train --preset smoke                          teacher and student in a few minutes, on synthetic data
  ekd-train --preset paper --data recordings:DIR    the published networks on your own data
  ekd-train teacher --preset paper --output RUN     only the teacher
  ekd-train distill RUN                             then its student
  ekd-train --resume RUN                            continue after an interruption
  ekd-train sweep --data D --split leave-one-out    every method on every fold, and a report

"""
_FIXED_OPTIONS = ("preset", "data", "scale", "target", "split", "keep_bad_windows", "output")
"""Options that a run fixes when it begins."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.epilog = EXAMPLES + preset_list()
    add_setup_arguments(parser)
    add_compute_arguments(parser)
    parser.add_argument("--resume", type=path_argument, metavar="RUN", help="continue this run folder")


def run(options: argparse.Namespace) -> int:
    """Train and print the result."""
    config = None if options.resume is not None else config_of(options)
    check_training_packages()
    from ekd_train.progress import TerminalReporter
    from ekd_train.run import default_run_path
    from ekd_train.training.trainer import resume, train

    try:
        with TerminalReporter() as reporter:
            if config is None:
                for name in _FIXED_OPTIONS:
                    if getattr(options, name, None):
                        raise ConfigError(
                            f"--resume continues a run with its own settings: leave --{name.replace('_', '-')} out"
                        )
                done = resume(
                    options.resume, options.set, device=options.device, threads=options.threads, reporter=reporter
                )
            else:
                output = options.output or default_run_path(options.preset or DEFAULT_PRESET)
                done = train(config, out=output, device=options.device, threads=options.threads, reporter=reporter)
    except KeyboardInterrupt:
        return resume_hint()
    print_run(done, f"ekd-export {done.path} --int8", options.json)
    return 0
