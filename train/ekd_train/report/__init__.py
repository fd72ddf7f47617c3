"""The report that ends a sweep."""

import json
from pathlib import Path
from typing import Any

__all__ = ["render_text", "write_report"]


def write_report(folder: Path) -> dict[str, Any]:
    """Write report.json from what the sweep in `folder` has finished, and return it."""
    results = sorted(folder.glob("cells/*/*.json"))
    report = {"results": [json.loads(path.read_text(encoding="utf-8")) for path in results]}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return report


def render_text(report: dict[str, Any]) -> str:
    """The report for people."""
    return f"{len(report['results'])} results"
