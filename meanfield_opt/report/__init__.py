"""Tables, figures and pages for people."""

from .figure import figure, save_figure

__all__ = ["figure", "save_figure"]
