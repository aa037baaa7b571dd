"""Names on the command line of a benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """For argparse's ``type``, where nargs is "*" and none may be given: ``choices`` then refuses the empty list (Python 3.11)."""
    names = list(known)

    def check(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(names)}")
        return text

    return check
