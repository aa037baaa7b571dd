"""Tables, figures and pages for people."""

from .figure import figure, save_figure
from .page import write_report

__all__ = ["figure", "save_figure", "write_report"]
