"""What a watched loop says, as text, a terminal table, HTML and JSON: all from the same plain data."""
import html
import json
from dataclasses import asdict, dataclass

from microgradx.errors import FormatError
from microgradx.flow.report import _aligned, _bars, _plain, _short, _spark

__all__ = ["LoopDiagnosis"]

LAYERS = {"error": "error", "error_later": "later", "gain": "gain", "signal": "signal", "saturated": "sat.",
          "dead": "dead"}
PARAMETERS = {"gradient": "gradient", "weight": "weight", "update": "update"}
LEGEND = ("error: norm of dC/dz per unit in the first step that was measured, and in the latest; gain: by what it is "
          "multiplied on its way from the layer above; signal: variance of the activation over the rows; sat., dead: "
          "shares of slopes and units. gradient, weight: norms; update: the change over the weight; medians over the "
          "steps that were measured")


@dataclass
class LoopDiagnosis:
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

    @classmethod
    def of(cls, finding, layer, advice, **parts):
        """Of what was measured, whatever kind of numbers that is."""
        evidence = [dict(zip(("name", "measured", "bound", "expected"), item)) for item in finding.evidence]
        return cls(**_plain({"verdict": finding.verdict, "cause": finding.cause, "layer": layer, "advice": advice,
                             "evidence": evidence, "doubt": finding.doubt, **parts}))

    @property
    def healthy(self):
        return self.verdict == "healthy"

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

    # ----- as text -----------------------------------------------------------------------------------------------

    def _head(self):
        s = self.settings
        yield f"{self.verdict}" + (f", at {self.layer}" if self.layer else "")
        yield f"Why: {self.cause}."
        if self.doubt:
            yield f"In doubt: {self.doubt}."
        if not self.healthy:
            yield f"What to do: {self.advice}."
        yield (f"{s['model']}, {s['parameters']:,} parameters; {s['optimizer']}, rate {_short(s['rate'])}; "
               f"{s['steps']} steps, of which {s['measured']} were measured")

    def _evidence(self):
        for e in self.evidence:
            yield (f"{e['name']}: {_short(e['measured'])}"
                   + (f", the bound {_short(e['bound'])}" if e["bound"] is not None else "")
                   + (f", theory {_short(e['expected'])}" if e["expected"] is not None else ""))

    def _tables(self):
        """(head, rows) of the layers, then of the parameters; without those that have no row."""
        for first, columns, rows in (("layer", LAYERS, self.layers), ("parameter", PARAMETERS, self.parameters)):
            if rows:
                bars = _bars([row[next(iter(columns))] for row in rows])
                yield [first, f"log {next(iter(columns))}", *columns.values()], [
                    [row["name"], bar, *(_short(row[name]) for name in columns)] for row, bar in zip(rows, bars)]

    def _rest(self):
        known = [loss for loss in self.losses if loss is not None]
        if known:
            yield f"loss {_short(known[0])} -> {_short(known[-1])} {_spark(self.losses)}"
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"not seen: {what}" for what in self.unseen)

    def __str__(self):
        head = "\n".join([*self._head(), *(f"  {line}" for line in self._evidence())])
        tables = [_aligned(*table) for table in self._tables()]
        return "\n\n".join(part for part in (head, *tables, LEGEND if tables else "", "\n".join(self._rest())) if part)

    def __repr__(self):
        return f"<LoopDiagnosis: {self.verdict}{f' at {self.layer}' if self.layer else ''}>"

    def _repr_html_(self):
        verdict, *rest = (html.escape(line) for line in self._head())
        return (f"<div><strong>{verdict}</strong>" + "".join(f"<p>{line}</p>" for line in rest)
                + "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in (*self._evidence(), *self._rest()))
                + "</ul>" + "".join(as_html(*table) for table in self._tables())
                + f"<p><small>{html.escape(LEGEND)}</small></p></div>")


def as_html(head, rows):
    """A table as HTML."""
    lines = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
             for tag, row in [("th", head), *(("td", row) for row in rows)]]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
