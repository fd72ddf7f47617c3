"""The report of a sweep: scores, statistics, comparisons, plots. Loads without torch."""

from ekd_train.report.text import render_text
from ekd_train.report.write import read_report, write_report

__all__ = ["read_report", "render_text", "write_report"]
