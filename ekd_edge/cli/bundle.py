"""`ekd-edge bundle`: an archive that installs on a Raspberry Pi without a network.

Exit status: 0 once it is written, 130 on Ctrl-C, 2 for a fault.
"""

import argparse
import json
import sys
from pathlib import Path

from ekd_edge.deploy.bundle import make_bundle
from ekd_edge.deploy.pi_os import PI_OSES, pi_os
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import default_model, describe_signoff
from ekd_edge.model.signature import read_trust, trust_from_environment
from firmware_bridge.dependencies import require_packages

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bundle`."""
    parser.description = (
        "Pack ekd-edge, all packages that it needs, a model and a service into one archive that installs without a "
        "network. Run it on a machine with a network."
    )
    parser.add_argument(
        "--os",
        metavar="N",
        required=True,
        help=f"the Pi's system: {', '.join(f'{n} ({o.title})' for n, o in PI_OSES.items())}",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        help="a model file, or demo (default: $EKD_MODEL, else the newest export here)",
    )
    parser.add_argument(
        "--trust", metavar="PUBKEY", type=Path, help="pack this key too: the service runs only models signed by it"
    )
    parser.add_argument(
        "--options",
        metavar="'...'",
        default="--port auto --wait --json",
        help="of ekd-edge as a service (default: %(default)s)",
    )
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="ekd's own wheel (default: of the ekd that runs)")
    parser.add_argument(
        "-o", "--output", "--out", metavar="FILE", type=Path, dest="output", help="default: ekd-pi-os-N.tar"
    )
    parser.add_argument("--json", action="store_true", help="what was packed, as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command; see the module's docstring for the exit status."""
    require_packages("ekd-edge bundle", "packaging", "pip")
    target = pi_os(options.os)
    trust = read_trust([options.trust]) if options.trust else trust_from_environment()
    model = options.model or default_model(trust=trust)
    model_file = load_model_file(model, trust)
    path = options.output or Path(f"ekd-{target.name}.tar")
    if sys.stderr.isatty():
        print(f"downloading wheels for {target.title} ...", file=sys.stderr)
    bundle = make_bundle(path, target, model_file, options.options, options.trust, options.wheel)
    if options.json:
        about = {"path": str(path), "size_bytes": bundle.size_bytes, "wheels": dict(bundle.wheels)}
        print(json.dumps({**about, "system": target.title, "model": str(model)}))
        return 0
    warning = describe_signoff(model_file.manifest)
    print(f"{path}: {bundle.size_bytes / 1e6:.0f} MB for {target.title}")
    print(f"  model    {model}{f' ({warning})' if warning else ''}")
    print(f"  packages {', '.join(f'{name} {version}' for name, version in bundle.wheels)}")
    print(f"copy it to the Pi, then there: tar xf {path.name} && python3 ekd-{target.name}/install.py --service")
    return 0
