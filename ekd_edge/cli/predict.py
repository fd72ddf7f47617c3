"""`ekd-edge predict`, the default command: predictions from skin-conductance sensors, or from a recording of one.

Exit status: 0 at the end of a recording, after --seconds, on SIGTERM and when the reader of stdout closes the pipe;
130 on Ctrl-C; 129 where its terminal was closed; 2 for a fault, with one sentence on stderr.
"""

import argparse
import os
import resource
from pathlib import Path

from ekd_edge.cli.arguments import (
    add_model_arguments,
    add_sensor_arguments,
    check_sensor_arguments,
    trust_of,
)
from ekd_edge.cli.port_options import FILE_KEYS, PortOptions, check_ports, parse_file, parse_port, with_wearers
from ekd_edge.cli.shutdown import Stopping, stop_on_signals
from ekd_edge.errors import ConfigError
from firmware_bridge.cli.arguments import not_negative, path_argument, positive, share, size_bytes, thread_count
from firmware_bridge.serial_port.ports import check_port, find_port, port_names

__all__ = ["add_arguments", "run"]

_FILES, _FILES_PER_PORT, _SPARE_FILES = 10, 5, 100
"""Descriptors of the process; those that pyserial opens for a port, its pipes included. A recording has one more."""
_EXAMPLES = """\
options of one port, which override what its device states:
  --port '/dev/ttyUSB0,format=grove,wearer=anna' --port '/dev/ttyUSB1,rate=128,unit=adc,adc-bits=12,name=left'
  keys: format, rate, unit, adc-bits, full-scale-us, baud, wearer, name (of the sensor in predictions and recordings);
  \\, is a comma of a name or of a format's settings

examples:
  ekd-edge --port sim:// --model demo                      a simulated sensor and the shipped demo model
  ekd-edge --port /dev/ttyUSB0                             a sensor; its format is detected
  ekd-edge --port /dev/rfcomm0 --format bitalino --rate 1000
  ekd-edge --port /dev/ttyACM0 --format csv --rate 19.5 --unit adc --adc-bits 10 --baud 9600
  ekd-edge --port /dev/ttyUSB0 --json >> predictions.jsonl
  ekd-edge --port /dev/ttyUSB0 --port /dev/ttyUSB1 --json  two sensors
  ekd-edge --replay recording.csv --rate 128 --unit uS --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge` and `ekd-edge predict`."""
    parser.epilog = _EXAMPLES
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--port",
        metavar="PORT[,KEY=VALUE]",
        type=parse_port,
        action="append",
        help="/dev/ttyUSB0, auto, usb:VID:PID[:SERIAL], sim://, socket://HOST:PORT; may be given several times; see "
        "below for the options of one port",
    )
    source.add_argument(
        "--replay",
        metavar="FILE",
        type=_file_argument,
        help="a recording, a folder of them, or a file of a sensor's bytes; FILE may end in options as PORT does",
    )
    add_model_arguments(parser)
    unplugged = parser.add_mutually_exclusive_group()
    unplugged.add_argument("--wait", action="store_true", help="start even where the sensor is not connected yet")
    unplugged.add_argument("--once", action="store_true", help="end when the sensor goes away (default: wait for it)")
    parser.add_argument(
        "--record", metavar="DIR", type=path_argument, help="record every sample, prediction and event in this folder"
    )
    parser.add_argument(
        "--record-free",
        metavar="SIZE",
        type=size_bytes,
        default=500 << 20,
        help="remove the oldest recordings there while less than SIZE is free on the disk, such as 2G (default: 500M)",
    )
    parser.add_argument(
        "--wearer",
        metavar="NAME",
        action="append",
        help="start from the baseline that `ekd-edge calibrate` took of this wearer (one for each --port)",
    )
    parser.add_argument(
        "--smooth",
        metavar="S",
        type=not_negative,
        help="average probabilities over about S seconds (default: 0, or as recorded)",
    )
    parser.add_argument(
        "--hysteresis",
        "--margin",
        metavar="SHARE",
        type=share,
        help="keep the current label until another one is more probable by SHARE, such as 0.2 (default: 0, or as "
        "recorded)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each prediction on stdout")
    parser.add_argument("--seconds", metavar="N", type=positive, help="stop after N s (of the recording)")
    parser.add_argument("--threads", metavar="N", type=thread_count, default=1, help="for inference (default: 1)")
    add_sensor_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Predict until the source ends or the process is stopped; see the module's docstring for the exit status."""
    _check(options)
    with stop_on_signals(reloads=options.port is not None) as stop:
        _predict(options, stop)
    return stop.status


def _check(options: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not go together."""
    if options.port is None and options.replay is None:
        raise ConfigError(f"name a sensor with --port or a recording with --replay; {_ports_here()}")
    for name, given in (("--record", options.record), ("--wearer", options.wearer)):
        if given is not None and options.port is None:
            raise ConfigError(f"{name} needs a sensor: name one with --port")
    if options.port is not None:
        check_ports(options.port)
        options.port = with_wearers(options.port, options.wearer)
    check_sensor_arguments(options)
    if options.record is not None:
        _check_record_folder(options.record)


def _check_record_folder(folder: Path) -> None:
    """Raise ConfigError where recordings can never be written to the folder.

    A full or read-only disk is not refused: recording starts as soon as the disk can be written.
    """
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(each))
    if not existing.is_dir():
        raise ConfigError(f"cannot record in {folder}: {existing} is not a folder; choose another one with --record")
    read_only = bool(os.statvfs(existing).f_flag & os.ST_RDONLY)
    if not read_only and not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            f"cannot record in {folder}: writing to {existing} is not allowed; change its permissions or choose "
            "another folder with --record"
        )


def _ports_here() -> str:
    names = port_names()
    return f"ports here: {', '.join(names)}" if names else "no serial port was found; sim:// simulates a sensor"


def _predict(options: argparse.Namespace, stop: Stopping) -> None:
    # These load numpy, which `ekd-edge --help` and the shell's completion need not wait for.
    import numpy as np

    from ekd_edge.cli.live import run_ports
    from ekd_edge.cli.messages import notify
    from ekd_edge.cli.replay import run_replay
    from ekd_edge.model.find import default_model, find_model
    from ekd_edge.pipeline.model_checks import restart_warning
    from ekd_edge.pipeline.smoothing import Smoothing
    from ekd_edge.service.running_model import open_model

    if options.port is not None:
        real = sum(not port.url.startswith("sim://") for port in options.port)
        _allow_files(real, _FILES + real * (_FILES_PER_PORT + (options.record is not None)))
    if options.port is not None and not options.wait:
        for port in options.port:
            check_port(find_port(port.url))
    trust = trust_of(options)
    path = find_model(options.model) if options.model else default_model(trust=trust)
    running = open_model(path, trust, options.threads, notify)
    # The signal chain of an odd model file may overflow: its windows are refused in one sentence, without warnings.
    with np.errstate(over="ignore", invalid="ignore"):
        if options.port is None:
            if warning := restart_warning(running.file.manifest, path.name):
                notify(warning)
            run_replay(options, running.file, running.classifier, stop)
        else:
            smoothing = Smoothing(options.smooth or 0.0, options.hysteresis or 0.0)
            run_ports(options, running, smoothing, stop)


def _allow_files(ports: int, needed: int) -> None:
    """Raise the soft limit of open files where it is too low, up to the hard limit.

    Raises ConfigError where the hard limit is too low for the files that so many ports need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + _SPARE_FILES
    if ports and hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"{ports} ports need {needed} open files, and the limit is {hard}: raise it (`ulimit -n {wanted}`, "
            f"LimitNOFILE={wanted} in a service), or read fewer ports"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _file_argument(text: str) -> PortOptions:
    return parse_file(text, FILE_KEYS)
