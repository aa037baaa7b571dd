"""First use: seconds of solving and proving with an empty cache of compiled kernels and with a filled one, kernel by kernel.

Each run is a process of its own, on digits of two components; compile seconds of a kernel include those of the pieces it calls.
CPU seconds of the process.

    python benchmarks/first_use.py [--repeats 3] [--out benchmarks/results/first_use.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def job() -> dict[str, Any]:
    """Seconds of each stage, and of each kernel that was compiled in it, in this process."""
    from numba.core import event

    import meanfield_opt as mfo

    running: list[tuple[str, float]] = []
    kernels: dict[str, float] = {}

    class Compiled(event.Listener):  # type: ignore[misc]
        def on_start(self, note: Any) -> None:
            running.append((note.data["dispatcher"].py_func.__qualname__, time.process_time()))

        def on_end(self, note: Any) -> None:
            name, begun = running.pop()
            if not running:  # what is called by another one is its part
                kernels[name] = time.process_time() - begun

    event.register("numba:compile", Compiled())
    problem = mfo.problems.digits(components=2, lambda1=10, lambda2=10)
    begun = time.process_time()
    solution = mfo.solve(problem)
    solved = time.process_time()
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "proved"
    return {"solve": solved - begun, "certify": time.process_time() - solved, "kernels": kernels}


def run(cache: str) -> dict[str, Any]:
    """The job in a process of its own, with this cache."""
    command = [sys.executable, __file__, "--job"]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "first_use.json")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(job()))
        return
    first, later = [], []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as cache:
            first.append(run(cache))
            later.append(run(cache))
    rows: dict[str, Any] = {}
    for stage in ("solve", "certify"):
        rows[stage] = {
            "first": statistics.median(entry[stage] for entry in first),
            "later": statistics.median(entry[stage] for entry in later),
        }
    rows["kernels"] = {
        name: statistics.median(entry["kernels"][name] for entry in first) for name in first[0]["kernels"]
    }
    assert not any(entry["kernels"] for entry in later), "a kernel was not kept"
    print(json.dumps(rows, indent=1))
    machine = {"machine": platform.machine(), "python": platform.python_version(), "cpus": os.cpu_count()}
    versions = {name: version(name) for name in ("meanfield-opt", "numpy", "numba", "llvmlite")}
    out = {"unit": "CPU seconds, medians", "repeats": arguments.repeats, "machine": machine, "versions": versions}
    arguments.out.write_text(json.dumps({**out, "seconds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
