"""The export's report: figures, text, HTML page and plots."""
