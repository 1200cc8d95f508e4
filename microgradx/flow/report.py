"""What a diagnosis says, as text, a terminal table, HTML, JSON and a figure: all from the same plain data."""
import html
import json
import math
from dataclasses import asdict, dataclass, field

import numpy as np

from microgradx.errors import FormatError
from microgradx.flow.advice import ADVICE, HEALTHY, MEANING
from microgradx.flow.records import layer_title

__all__ = ["Diagnosis", "Report", "aligned", "as_html", "bars", "plain", "short", "sparkline"]

BLOCKS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")          # Okabe and Ito (2008)
COLUMNS = {"error": "error", "gain": "gain", "expected_gain": "theory", "by_weights": "weights", "by_slope": "slope",
           "signal": "signal", "saturated": "sat.", "dead": "dead", "update": "update"}
LEGEND = ("error: norm of dC/dz per unit; gain: by what it is multiplied on its way from the layer above = weights x "
          "slope; theory: mean-field, for these weights; signal: variance of the activation over the rows; sat., "
          "dead: shares of slopes and units; update: |dW|/|W| of the first step")


class Report:
    """What the diagnoses of a net and of a loop have in common. They are dataclasses of plain numbers: None where there
    is none, "inf" and "-inf" as words."""
    verdict: str
    layer: str | None
    evidence: list

    @classmethod
    def of(cls, finding, layer, **parts):
        """Of a ``Finding`` at ``layer`` and of what else was measured, whatever kind of numbers that is."""
        evidence = [dict(zip(("name", "measured", "bound", "expected"), item)) for item in finding.evidence]
        return cls(**plain({"verdict": finding.verdict, "cause": finding.cause, "layer": layer, "evidence": evidence,
                            "doubt": finding.doubt, **parts}))

    @property
    def healthy(self):
        return self.verdict == HEALTHY

    def to_json(self, indent=None):
        """All of it; ``from_json`` reads it."""
        return json.dumps(asdict(self), indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text):
        """The diagnosis that ``to_json`` wrote. Raises ``FormatError`` for other text."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise FormatError(f"from_json: not what to_json wrote: {error}") from None

    def _evidence(self):
        for e in self.evidence:
            yield (f"{e['name']}: {short(e['measured'])}"
                   + (f", the bound {short(e['bound'])}" if e["bound"] is not None else "")
                   + (f", theory {short(e['expected'])}" if e["expected"] is not None else ""))

    def __repr__(self):
        return f"<{type(self).__name__}: {self.verdict}{f' at {self.layer}' if self.layer else ''}>"


@dataclass(repr=False)
class Diagnosis(Report):
    """What ``flow.diagnose`` found: plain numbers, None where there is none, "inf" and "-inf" as words.

    ``verdict``, ``cause``: a sentence, ``layer``: its name or None. ``evidence``: dicts of name, measured, bound,
    expected. ``layers``: a dict of numbers each. ``before``: of the training as it is: cost, cost_after, learned,
    elsewhere (the same of rows that no step has seen), accuracy, decades_back, decades_forward ...
    ``prescriptions``: dicts of name, source, change, ``lines`` (what was tried, as code to paste, in which the net is
    ``model``, with ``optimizer`` and ``loss_fn``), trains, and ``after``, the same numbers with it. ``settings``: of
    the run. ``notes``: what is odd and no verdict. ``doubt``: why the verdict is not sure, or None. ``blocks``: of each
    residual block, by the last layer of its branch, the norms of the error in the stream and at the branch's first
    layer; ``through_time``: of each recurrent module, the norms of the error at its input, step by step.
    """
    verdict: str
    cause: str
    layer: str | None
    evidence: list
    layers: list
    before: dict
    prescriptions: list
    settings: dict
    notes: list
    doubt: str | None = None
    blocks: list = field(default_factory=list)
    through_time: dict = field(default_factory=dict)

    @property
    def cure(self):
        """The first prescription with which the net trains, None if there is none."""
        return next((p for p in self.prescriptions if p["trains"]), None)

    # ----- as text -----------------------------------------------------------------------------------------------

    def _head(self):
        s = self.settings
        yield f"{self.verdict}" + (f", at {self._place()}" if self.layer else "")
        if self.verdict in MEANING:
            yield f"That is: {MEANING[self.verdict]}."
        yield f"Why: {self.cause}."
        if self.doubt:
            yield f"In doubt: {self.doubt}."
        if not self.healthy:
            yield f"What to do: {self._advice()}."
        yield (f"{s['model']}, {s['parameters']:,} parameters, {s['dtype']}; {s['optimizer']}, rate {s['rate']:g}, "
               f"{s['steps']} steps on {s['rows']} rows, seed {s['seed']}")

    def _place(self):
        row = next(row for row in self.layers if row["layer"] == self.layer)
        return layer_title(row["layer"], row["kind"], row["shape"])

    def _advice(self):
        cure = self.cure
        if cure is None:
            return ADVICE.get(self.verdict, "see what was tried")
        number = "elsewhere" if cure["after"]["elsewhere"] is not None else "learned"
        rows = "of the cost on rows that were held out" if number == "elsewhere" else "of the cost"
        return f"{cure['change']} (it removes {float(cure['after'][number]):.0%} {rows})"

    def _table(self):
        """Head and rows of the layers."""
        lengths = bars([row["error"] for row in self.layers])
        return ["layer", "log error", *COLUMNS.values()], [
            [f"{row['layer']} {row['activation'] or row['kind']}", bar, *(short(row[name]) for name in COLUMNS)]
            for row, bar in zip(self.layers, lengths)]

    def _paths(self):
        """What layers alone do not show: the error from block to block, and from step to step."""
        for name in ("stream", "branch") if self.blocks else ():
            yield _course_of({"stream": "error in the stream", "branch": "error at the first layers of the branches"}[
                name] + ", block by block", [block[name] for block in self.blocks])
        for name, errors in self.through_time.items():
            yield _course_of(f"error at the input of {name}, step by step", errors)

    def _trials(self):
        """Head and rows of the trainings, the first as it is."""
        rows = [["as it is", *_result(self.before)]]
        rows += [[("✓ " if p["trains"] else "") + p["name"], *(_result(p["after"]) if p["after"] else [""] * 5)]
                 for p in self.prescriptions]
        return ["training", "cost", "over steps", "learned", "right", "error at layer 1"], rows

    def _changes(self):
        for p in self.prescriptions:
            yield f"{p['name']}: {p['change']}" + (f". {p['source']}" if p["source"] else "")

    def _lines(self):
        """The first cure as code to paste, or what was tried first."""
        first = self.cure or next(iter(self.prescriptions), None)
        if first and first["lines"]:
            library = self.settings["library"]
            head = f"import {library}" + ("" if library == "torch" else " as mgx"), f"from {library} import nn, optim"
            yield f"{first['name']}, to paste behind model, optimizer and loss_fn:"
            yield from (f"    {line}" for line in (*head, *first["lines"]))

    def __str__(self):
        head = [*self._head(), *(f"  {line}" for line in self._evidence())]
        parts = ["\n".join(head), aligned(*self._table()) if self.layers else "", LEGEND,
                 "\n".join(self._paths()), aligned(*self._trials()),
                 "\n".join(self._changes()), "\n".join(self._lines()), "\n".join(
                     f"note: {note}" for note in self.notes)]
        return "\n\n".join(part for part in parts if part)

    def show(self):
        """Print it, as tables of rich where that is installed."""
        try:
            from rich.box import SIMPLE_HEAD
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            print(self)
            return
        console = Console(highlight=False)
        verdict, *rest = self._head()
        console.print(Text(verdict, style="bold green" if self.healthy else "bold red"))
        for line in (*rest, *(f"  {e}" for e in self._evidence())):
            console.print(Text(line))
        for head, rows in (self._table(), self._trials()):
            said = [k for k in range(len(head)) if any(row[k] not in ("0", "-", "") for row in rows)]
            table = Table(*(head[k] for k in said), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            for column in table.columns:
                column.no_wrap = True
            for row in rows:
                marked = row[0].startswith("✓") or row[0].split(" ")[0] == self.layer
                table.add_row(*(Text(row[k]) for k in said), style="bold" if marked else "")
            console.print(table)
        for note in (LEGEND, *self._paths(), *self._changes(), *self._lines(), *(
                f"note: {note}" for note in self.notes)):
            console.print(Text(note, style="dim"))

    def _repr_html_(self):
        verdict, *rest = (html.escape(line) for line in self._head())
        return (f"<div><strong>{verdict}</strong>" + "".join(f"<p>{line}</p>" for line in rest)
                + "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in (
                    *self._evidence(), *self._paths(), *self._changes(), *self.notes)) + "</ul><pre>"
                + html.escape("\n".join(self._lines())) + "</pre>"
                + as_html(*self._table()) + f"<p><small>{html.escape(LEGEND)}</small></p>" + as_html(*self._trials())
                + "</div>")

    # ----- as a figure -------------------------------------------------------------------------------------------

    def figure(self):
        """A ``matplotlib.figure.Figure``: errors and signals by layer compared with theory, and the cost with each
        prescription."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        places = np.arange(1, len(self.layers) + 1)
        column = lambda name: np.array([_number(row[name]) for row in self.layers])         # noqa: E731
        error, gain = column("error"), column("expected_gain")
        lines = [("error, first pass", error, "o-", PALETTE[0]),
                 ("error, after training", column("error_after_training"), "o--", PALETTE[5]),
                 ("signal (root of its variance)", np.sqrt(column("signal")), "s-", PALETTE[2])]
        if np.isfinite(gain[:-1]).all() and len(gain) > 1:
            expected = error[-1] * np.append(np.cumprod(gain[-2::-1])[::-1], 1.0)
            lines.append(("error, mean-field theory", expected, ":", "black"))
        for label, values, style, colour in lines:
            left.plot(places, np.where(values > 0, values, np.nan), style, color=colour, label=label, markersize=4)
        left.set(title=f"{self.verdict}" + (f" at {self.layer}" if self.layer else ""), xlabel="layer",
                 ylabel="norm per unit", yscale="log")
        names = [row["layer"] for row in self.layers]
        if len(names) <= 24:
            left.set_xticks(places, names, rotation=0 if max(map(len, names)) <= 3 else 60)
        right.plot([_number(c) for c in self.before["losses"]], color="black", label="as it is")
        for k, p in enumerate(p for p in self.prescriptions if p["after"]):
            right.plot([_number(c) for c in p["after"]["losses"]], color=PALETTE[k % len(PALETTE)], label=p["name"])
        right.axhline(_number(self.before["constant_cost"]), color="0.6", linestyle=":", label="best constant output")
        costs = [_number(c) for p in [self.before, *(p["after"] for p in self.prescriptions if p["after"])]
                 for c in p["losses"]]
        right.set(title="Cost of training", xlabel="step",
                  yscale="log" if min(costs, default=0) > 0 else "linear")
        for axes in (left, right):
            axes.grid(axis="y", color="0.9")
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8)
        figure.supxlabel(list(self._head())[-1], fontsize=8, color="0.35")
        return figure


def plain(x):
    """The same as JSON has it."""
    if isinstance(x, dict):
        return {name: plain(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, float | np.floating):
        return None if math.isnan(x) else str(float(x)) if math.isinf(x) else float(x)
    return x.item() if isinstance(x, np.generic) else x


def _number(x):
    return math.nan if x is None else float(x)


def short(x):
    """A number in two digits, "-" for None."""
    return "-" if x is None else x if isinstance(x, str) else f"{x:.2g}"


def _logs(values):
    """log10 as shares of their range, None where there is none."""
    numbers = np.array([_number(v) for v in values])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(np.abs(numbers))
    good = logs[np.isfinite(logs)]
    low, high = (good.min(), max(good.max(), good.min() + 1)) if len(good) else (0.0, 1.0)
    return [float((v - low) / (high - low)) if math.isfinite(v) else None for v in logs]


def bars(values, width=8):
    """A horizontal bar per value, of its logarithm."""
    for share in _logs(values):
        eighths = 0 if share is None else max(1, round(share * width * 8))
        yield "█" * (eighths // 8) + BLOCKS[eighths % 8].strip()


def sparkline(values, width=16):
    """A line of blocks over a series, of its logarithm."""
    picked = [values[k] for k in np.unique(np.linspace(0, len(values) - 1, width).astype(int))] if values else []
    return "".join(" " if share is None else LEVELS[round(share * 7)] for share in _logs(picked))


def _course_of(what, values):
    """A line on a series of norms."""
    return f"{what}: {sparkline(values)} from {short(values[0])} to {short(values[-1])}"


def _result(n):
    right = "" if n["accuracy_after"] is None else f"{short(n['accuracy'])} -> {short(n['accuracy_after'])}"
    return [f"{short(n['cost'])} -> {short(n['cost_after'])}", sparkline(n["losses"]),
            "-" if n["learned"] is None else f"{round(float(n['learned']), 2) + 0.0:.0%}", right,
            "-" if n["decades_back"] is None else f"10^{-float(n['decades_back']):.1f}"]


def aligned(head, rows):
    """A table as text, its columns below each other."""
    wide = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, wide)).rstrip() for row in [head, *rows]]
    lines.insert(1, "-" * min(max(map(len, lines)), 120))
    return "\n".join(lines)


def as_html(head, rows):
    """A table as HTML."""
    lines = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
             for tag, row in [("th", head), *(("td", row) for row in rows)]]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
