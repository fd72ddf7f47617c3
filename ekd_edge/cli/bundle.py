"""`ekd-edge bundle`: packs an archive that installs on a Raspberry Pi without a network.

Exit status: 0 when the archive is written, 130 on Ctrl-C, 2 for a fault, with one sentence on stderr.
"""

import argparse
import json
import sys
from pathlib import Path

from ekd_edge.cli.arguments import add_model_argument
from ekd_edge.deploy.bundle import make_bundle
from ekd_edge.deploy.pi_os import PI_OSES, pi_os
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import default_model, describe_signoff, find_model
from ekd_edge.model.signature import read_trust, trust_from_environment
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.dependencies import require_packages
from firmware_bridge.printable import printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge bundle`."""
    parser.description = (
        "Pack ekd-edge, all packages that it needs, a model and a service into one archive that installs without a "
        "network. Run this command on a machine with a network."
    )
    parser.add_argument(
        "--os",
        metavar="N",
        required=True,
        help=f"the Pi's system: {', '.join(f'{number} ({each.title})' for number, each in PI_OSES.items())}",
    )
    add_model_argument(parser)
    parser.add_argument(
        "--trust",
        metavar="PUBKEY",
        type=path_argument,
        help="pack this public key too: the service runs only models signed by it",
    )
    parser.add_argument(
        "--options",
        metavar="'...'",
        default="--port auto --wait --json",
        help="options of ekd-edge as a service (default: %(default)s)",
    )
    parser.add_argument(
        "--wheel", metavar="FILE", type=path_argument, help="ekd's own wheel (default: built from the ekd that runs)"
    )
    parser.add_argument("-o", "--output", "--out", metavar="FILE", type=path_argument, help="default: ekd-pi-os-N.tar")
    parser.add_argument("--json", action="store_true", help="print the contents as one JSON object")


def run(options: argparse.Namespace) -> None:
    """Pack the archive; see the module's docstring for the exit status."""
    target = pi_os(options.os)
    require_packages("ekd-edge bundle", "packaging", "pip")
    trust = read_trust([options.trust]) if options.trust else trust_from_environment()
    model = find_model(options.model) if options.model else default_model(trust=trust)
    model_file = load_model_file(model, trust)
    path = options.output or Path(f"ekd-{target.name}.tar")
    if sys.stderr.isatty():
        print(f"gathering wheels for {target.title} ...", file=sys.stderr)
    bundle = make_bundle(path, target, model_file, options.options, options.trust, options.wheel)
    if options.json:
        about = {"path": str(path), "size_bytes": bundle.size_bytes, "wheels": dict(bundle.wheels)}
        print(json.dumps({**about, "system": target.title, "model": str(model)}))
        return
    signoff = describe_signoff(model_file.manifest)
    print(printable(f"{path}: {bundle.size_bytes / 1e6:.0f} MB for {target.title}"))
    print(printable(f"  model    {model}{f' ({signoff})' if signoff else ''}"))
    print(f"  packages {', '.join(f'{name} {version}' for name, version in bundle.wheels)}")
    archive = printable(path.name)
    print(f"copy it to the Pi and run there: tar xf {archive} && python3 ekd-{target.name}/install.py --service")
