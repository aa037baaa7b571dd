"""Entry point: parse, dispatch, and turn typed errors into one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import MeanFieldError
from ..threads import blas_threads
from ..validate import shown
from . import compare, copositive, listing, solve, verify


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit code 2."""
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from .. import __version__

    parser = Parser(prog="meanfield-opt", description="Find and prove global optima of problems over measures.")
    parser.add_argument("--version", action="version", version=f"meanfield-opt {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what the library does")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for module in (solve, verify, compare, copositive, listing):
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 1 gap not certified, 2 bad input, 3 rejected, 4 no solver)."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.ERROR, format="%(name)s: %(message)s")
    try:
        with blas_threads(0):
            return int(arguments.run(arguments))
    except MeanFieldError as error:
        print(f"meanfield-opt: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("meanfield-opt: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"meanfield-opt: {error.strerror or error}: {shown(error.filename)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("meanfield-opt: the memory is used up; take fewer samples or a smaller problem", file=sys.stderr)
        return 1
