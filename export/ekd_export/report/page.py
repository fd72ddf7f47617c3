"""The report of an export as one HTML page that opens offline, made from its JSON alone."""

from ekd_export.report.html import render_page

__all__ = ["render_page"]
