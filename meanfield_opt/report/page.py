"""One self-contained HTML page about a comparison: no script, no network, figures embedded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape as quote
from pathlib import Path
from typing import Any

from ..files import write_text
from ..validation.comparison import Comparison

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#24323d;max-width:1120px;margin:2em auto;padding:0 1.2em;background:#fff}
h1{font-size:1.5em;margin-bottom:.2em} h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #ccd5db}
table{border-collapse:collapse;font-size:.92em} td,th{padding:.22em .8em;text-align:right;border-bottom:1px solid #e3e8ec}
td{white-space:nowrap}
td:first-child,th:first-child{text-align:left} th{background:#f2f5f7} img{max-width:100%;height:auto}
.note{color:#5b6b76;font-size:.92em} .pair{display:flex;gap:2em;flex-wrap:wrap} .pair>section{flex:1 1 460px;min-width:0} .wide{overflow-x:auto}
.over{color:#b5472f;font-weight:600}
"""


def write_report(comparison: Comparison, path: str | Path) -> None:
    """Write the page of ``comparison`` to ``path``. Raises InputError where the file cannot be written."""
    write_text(path, render(comparison), "the report")


def render(c: Comparison) -> str:
    """The page as text."""
    from . import comparison_plots as plots

    body = c.summary()
    parts = [
        f"<h1>Trained networks against a certified optimum</h1><p>{quote(c.problem.name)}</p>",
        _verdict(c),
        "<div class='pair'>",
        _section("The certified optimum", _optimum(c)),
        _section("The trained networks", _networks(c, body)),
        "</div>",
        _picture(
            "Kernels side by side",
            plots.kernels(c),
            "Samples sorted by class; one colour scale for all hidden kernels.",
        ),
        _picture(
            "Seeds",
            plots.gaps(c),
            "Gaps are relative to the proved lower bound, so they are upper bounds of the true ones.",
        ),
        _picture(
            "Neurons",
            plots.neurons(c),
            "A trained neuron counts for the nearest certified pattern if their cosine is at least 0.99.",
        ),
        _picture("Learning dynamics", plots.dynamics(c), "Thin lines: seeds. Thick line: median."),
        _section("Above the optimum", _escapes(c)),
        _section("Every seed", _seeds(c)),
        _section("How this was made", _made(c)),
    ]
    title = f"meanfield-opt: {c.problem.name}"
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{quote(title)}</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _verdict(c: Comparison) -> str:
    count, total = int(c.reached.sum()), len(c.seeds)
    text = f"{count} of {total} networks end within a relative {c.threshold:g} of the proved lower bound. "
    if c.certificate.verdict != "proved":
        text += "The bound itself is the trivial one: no proof was found, so gaps say little here."
    elif c.certificate.relative_gap > c.threshold:
        beaten = int((c.values("excess") < -1e-9).sum())
        text += f"{beaten} of them have less energy than the solution they are compared with. " if beaten else ""
        text += (
            f"The certificate's own gap is {c.certificate.relative_gap:.1e}, larger than that threshold: a network above it "
            "may still be optimal."
        )
    else:
        text += f"The optimum is certified to a relative {c.certificate.relative_gap:.1e}."
    return f"<p>{quote(text)}</p>"


def _optimum(c: Comparison) -> str:
    rows = [
        ("lower bound", f"{c.certificate.lower_bound:.10g}"),
        ("upper bound", f"{c.certificate.upper_bound:.10g}"),
        ("relative gap", f"{c.certificate.relative_gap:.2e}"),
        ("verdict", c.certificate.verdict),
        ("parallelism score", _number(c.optimum["parallelism"])),
        ("CCGP", _number(c.optimum["ccgp"])),
        ("participation ratio", _number(c.optimum["dimension"])),
        ("inputs' own parallelism", _number(c.optimum["input_parallelism"])),
        ("atoms", str(c.solution.measure.support().n_atoms)),
    ]
    return _table(("", ""), rows) + f"<p class='note'>Proof: {quote(c.certificate.proof)}.</p>"


def _networks(c: Comparison, body: dict[str, Any]) -> str:
    def spread(name: str) -> str:
        part = body[name]
        return "undefined" if part["mean"] is None else f"{part['mean']:.5f} ± {part['standard_error']:.1e}"

    gap, excess = body["gap"], body["excess"]
    rows = [
        ("seeds, hidden units", f"{len(c.seeds)}, {c.width}"),
        ("gap: least / median / greatest", f"{gap['least']:.1e} / {gap['median']:.1e} / {gap['greatest']:.1e}"),
        (
            "energy above the solution's",
            f"{excess['least']:.1e} / {excess['median']:.1e} / {excess['greatest']:.1e}",
        ),
        ("distance of K to K*", spread("distance")),
        ("CKA to K*", spread("cka")),
        ("Procrustes to K*", spread("procrustes")),
        ("parallelism score", spread("parallelism")),
        ("CCGP", spread("ccgp")),
        ("participation ratio", spread("dimension")),
        ("explained by certified patterns", spread("explained")),
    ]
    return _table(("mean ± standard error over seeds", ""), rows)


def _escapes(c: Comparison) -> str:
    above = int((~c.reached).sum())
    if above == 0:
        return "<p>No network stayed above the threshold.</p>"
    if not c.escapes:
        return f"<p>{above} networks stayed above the threshold; for none of those examined was an improving neuron found.</p>"
    strong = c.certificate.relative_gap <= c.threshold
    head = (
        "seed",
        "gap where it was stuck" if strong else "energy above the solution's where it was stuck",
        "its own certificate",
        "after training on",
        "after neurons added",
        "neurons",
        "first ratio",
        "named by",
    )
    rows = []
    for e in c.escapes:
        scale = max(abs(c.solution.energy), 1e-300)
        shown = (e.before, e.control, *e.gaps) if strong else tuple(v / scale - 1.0 for v in e.energies)
        rows.append(
            (
                str(e.seed),
                f"{shown[0]:.2e}",
                e.verdict,
                f"{shown[1]:.2e}",
                f"{shown[-1]:.2e}" if e.gaps else "none found",
                str(len(e.gaps)),
                f"{e.ratios[0]:.4f}" if e.ratios else "",
                e.sources[0] if e.sources else "",
            )
        )
    note = (
        f"{above} networks stayed above the threshold. For those examined: the neuron whose first variation is negative "
        '(ratio above 1) was added and training went on; beside it the same further training without it. "refuted": its '
        "own certificate proves that the stopped network is not optimal."
    )
    return f"<p>{note}</p>" + _table(head, rows)


def _seeds(c: Comparison) -> str:
    head = (
        "seed",
        "energy",
        "gap",
        "|K-K*|/|K*|",
        "CKA",
        "PS",
        "CCGP",
        "explained",
        "fell at the end",
        "improving ratio",
        "gap, trained on",
        "standing",
    )
    rows = []
    for s in sorted(c.seeds, key=lambda s: s.gap):
        gap = f"{s.gap:.2e}"
        rows.append(
            (
                f"{s.seed}{' (diverged)' if s.diverged else ''}",
                f"{s.energy:.9g}",
                gap,
                _number(s.distance),
                _number(s.cka),
                _number(s.parallelism),
                _number(s.ccgp),
                f"{s.matching.explained:.4f}",
                f"{s.settled:.1e}",
                "" if s.improving is None else f"{s.improving.ratio:.4f}",
                "" if not math.isfinite(s.control) else f"{s.control:.2e}",
                s.standing,
            )
        )
    return f"<div class='wide'>{_table(head, rows)}</div>"


def _made(c: Comparison) -> str:
    o = c.options
    rows = [
        ("training", f"{o.method}, {o.steps} steps, rate {o.rate:g} ({o.schedule}), {o.precision}"),
        ("initial scale", f"{c.scale:g}"),
        ("seeds", _numbers([s.seed for s in c.seeds])),
        ("penalties", f"lambda1 = {c.problem.lambda1:g}, lambda2 = {c.problem.lambda2:g}"),
        ("problem fingerprint", c.problem.fingerprint[:16]),
        ("versions", ", ".join(f"{k} {v}" for k, v in c.versions.items())),
        ("seconds", f"{c.seconds:.1f}"),
    ]
    return _table(("", ""), rows)


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} .. {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{quote(title)}</h2>{content}</section>"


def _picture(title: str, drawing: Any, note: str) -> str:
    from .comparison_plots import embed

    return _section(title, f"<img alt='{quote(title)}' src='{embed(drawing)}'><p class='note'>{quote(note)}</p>")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "" if not any(head) else "<tr>" + "".join(f"<th>{quote(h)}</th>" for h in head) + "</tr>"
    body = "".join("<tr>" + "".join(f"<td>{quote(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _number(value: float) -> str:
    return "undefined" if not math.isfinite(value) else f"{value:.5f}"
