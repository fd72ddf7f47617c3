"""Write and read a sweep's report: report.json first, then report.md and the plots from it."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekd_edge.atomic_files import write_whole
from ekd_edge.errors import ConfigError
from ekd_train.report.build import FORMAT, build_report
from ekd_train.report.collect import read_sweep
from ekd_train.report.plots import draw_plots
from ekd_train.report.text import render_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["read_report", "write_report"]


def write_report(folder: Path) -> dict[str, Any]:
    """Report the sweep in `folder`, finished or not: write report.json, report.md and plots/*.png, return the report.

    Raises ConfigError if there is no sweep, a file cannot be written, or matplotlib is missing (after the other files
    are written); DataError if results contradict each other.
    """
    text = json.dumps(build_report(read_sweep(folder)), indent=1, ensure_ascii=False, allow_nan=False)
    # Text and plots are made from the parsed JSON, as by a later reader.
    report: dict[str, Any] = json.loads(text)
    write_whole(folder / "report.json", f"{text}\n".encode())
    write_whole(folder / "report.md", render_markdown(report).encode())
    for name, figure in draw_plots(report):
        write_whole(folder / "plots" / name, _png(figure))
    return report


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.json, given as the file or as the folder of its sweep.

    Raises ConfigError if it is missing, damaged or of another version.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist: write it with ekd-train report FOLDER") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read ({error}): write it again with ekd-train report FOLDER") from error
    if not isinstance(report, Mapping) or report.get("format") != FORMAT:
        raise ConfigError(f"{file} is not a report of this version of ekd: write it again with ekd-train report FOLDER")
    return dict(report)


def _png(figure: "Figure") -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()
