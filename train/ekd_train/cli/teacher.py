"""`ekd-train teacher`: train only the teacher."""

import argparse

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

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `teacher`."""
    parser.epilog = preset_list()
    add_setup_arguments(parser)
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the result."""
    config = config_of(options)
    check_training_packages()
    from ekd_train.progress import TerminalReporter
    from ekd_train.run import default_run_path
    from ekd_train.training.trainer import train

    output = options.output or default_run_path(options.preset or DEFAULT_PRESET)
    try:
        with TerminalReporter() as reporter:
            done = train(
                config,
                out=output,
                device=options.device,
                threads=options.threads,
                reporter=reporter,
                student=False,
            )
    except KeyboardInterrupt:
        return resume_hint()
    print_run(done, f"ekd-train distill {done.path}", options.json)
    return 0
