"""Measurements: each script prints a Markdown table; RESULTS.md keeps what they printed, with date and machine."""
