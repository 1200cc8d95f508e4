"""What a watched loop says, as text, a terminal table, HTML and JSON: all from the same plain data."""
import html
from dataclasses import dataclass

from microgradx.flow.report import Report, aligned, as_html, bars, short, sparkline

__all__ = ["LoopDiagnosis"]

LAYERS = {"error": "error", "error_later": "later", "gain": "gain", "signal": "signal", "saturated": "sat.",
          "dead": "dead"}
PARAMETERS = {"gradient": "gradient", "weight": "weight", "update": "update"}
LEGEND = ("error: norm of dC/dz per unit in the first step that was measured, and in the latest; gain: by what it is "
          "multiplied on its way from the layer above; signal: variance of the activation over the rows; sat., dead: "
          "shares of slopes and units. gradient, weight: norms; update: the change over the weight; medians over the "
          "steps that were measured")


@dataclass(repr=False)
class LoopDiagnosis(Report):
    """What ``Loop.diagnose`` found: plain numbers, None where there is none, "inf" and "-inf" as words.

    ``verdict``, ``cause`` and ``advice``: a sentence each; ``layer``: the name of a layer or parameter, or None.
    ``evidence``: dicts of name, measured, bound, expected. ``layers`` and ``parameters``: a dict of numbers each.
    ``losses``: of steps that are spread over the run. ``settings``: of the loop. ``notes``: what is odd and no verdict.
    ``unseen``: what could not be looked at, and why. ``doubt``: why the verdict is not sure, or None.

    >>> import microgradx as mgx
    >>> from microgradx import flow, nn, optim
    >>> net = nn.Linear(2, 1, rng=0)
    >>> with flow.watch(net, optim.SGD(net.parameters(), lr=0.1)) as run:
    ...     loss = net(mgx.ones((4, 2))).mean()
    >>> found = run.diagnose()
    >>> found.verdict, found.healthy
    ('weights never move', False)
    """
    verdict: str
    cause: str
    layer: str | None
    advice: str
    evidence: list
    layers: list
    parameters: list
    losses: list
    settings: dict
    notes: list
    unseen: list
    doubt: str | None = None

    # ----- as text -----------------------------------------------------------------------------------------------

    def _head(self):
        s = self.settings
        yield f"{self.verdict}" + (f", at {self.layer}" if self.layer else "")
        yield f"Why: {self.cause}."
        if self.doubt:
            yield f"In doubt: {self.doubt}."
        if not self.healthy:
            yield f"What to do: {self.advice}."
        yield (f"{s['model']}, {s['parameters']:,} parameters; {s['optimizer']}, rate {short(s['rate'])}; "
               f"{s['steps']} steps, of which {s['measured']} were measured")

    def _tables(self):
        """(head, rows) of the layers, then of the parameters; without those that have no row."""
        for first, columns, rows in (("layer", LAYERS, self.layers), ("parameter", PARAMETERS, self.parameters)):
            if rows:
                lengths = bars([row[next(iter(columns))] for row in rows])
                yield [first, f"log {next(iter(columns))}", *columns.values()], [
                    [row["name"], bar, *(short(row[name]) for name in columns)] for row, bar in zip(rows, lengths)]

    def _rest(self):
        known = [loss for loss in self.losses if loss is not None]
        if known:
            yield f"loss {short(known[0])} -> {short(known[-1])} {sparkline(self.losses)}"
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"not seen: {what}" for what in self.unseen)

    def __str__(self):
        head = "\n".join([*self._head(), *(f"  {line}" for line in self._evidence())])
        tables = [aligned(*table) for table in self._tables()]
        return "\n\n".join(part for part in (head, *tables, LEGEND if tables else "", "\n".join(self._rest())) if part)

    def _repr_html_(self):
        verdict, *rest = (html.escape(line) for line in self._head())
        return (f"<div><strong>{verdict}</strong>" + "".join(f"<p>{line}</p>" for line in rest)
                + "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in (*self._evidence(), *self._rest()))
                + "</ul>" + "".join(as_html(*table) for table in self._tables())
                + f"<p><small>{html.escape(LEGEND)}</small></p></div>")
