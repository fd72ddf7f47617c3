"""`ekd-train config`: every setting with its key, type, value and meaning."""

import argparse
import json
from typing import Any

from ekd_train.cli.options import add_set_argument, preset_list
from ekd_train.config import TrainConfig, load_preset
from ekd_train.settings.field import settings_of_class

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `config`."""
    parser.epilog = preset_list()
    parser.add_argument("--preset", help="show the values of this preset or .toml file (default: the defaults)")
    add_set_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object: key to type, default, value and meaning")


def run(options: argparse.Namespace) -> None:
    """Print the settings."""
    config = load_preset(options.preset) if options.preset else TrainConfig()
    values = _flat(config.override(options.set).to_json())
    settings = list(settings_of_class(TrainConfig))
    if options.json:
        table = {
            each.key: {"type": each.kind, "default": each.default, "value": values[each.key], "about": each.about}
            for each in settings
        }
        print(json.dumps(table, indent=1))
        return
    width = max(len(each.key) for each in settings)
    shown = {each.key: json.dumps(values[each.key]) for each in settings}
    value_width = min(24, max(map(len, shown.values())))
    for each in settings:
        print(f"{each.key:<{width}}  {shown[each.key]:<{value_width}}  {each.about} ({each.kind})")


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
