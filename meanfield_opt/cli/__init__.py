"""The command line. Only this package prints; the library below it logs and raises."""

from .main import main

__all__ = ["main"]
