"""Reports of runs: one HTML file that opens from disk, and Markdown beside it."""

from pprs.report._write import write, write_all

__all__ = ["write", "write_all"]
