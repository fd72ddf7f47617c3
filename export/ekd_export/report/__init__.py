"""The report of an export: JSON, HTML page, plots; a picture of a recording and its predictions."""
