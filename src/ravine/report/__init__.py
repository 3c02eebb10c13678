"""What a race looks like: a page, a table in the terminal, a fragment in a notebook. Draws; computes nothing."""

from ravine.report.notebook import notebook
from ravine.report.page import html, write
from ravine.report.terminal import table

__all__ = ["html", "notebook", "table", "write"]
