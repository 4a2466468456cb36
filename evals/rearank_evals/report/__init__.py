"""The report: tables, plots, Markdown and HTML."""
