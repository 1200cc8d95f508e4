"""The report: one HTML page that needs nothing but itself."""
import base64
import platform
from html import escape
from textwrap import shorten

import numpy as np

from microgradx.lab.cards import IMPRECISE, RIGHT, SOURCES, WRONG
from microgradx.lab.drawing import figures, png

__all__ = ["html", "shown"]

MARKS = {RIGHT: ("right", "✓"), IMPRECISE: ("imprecise", "~"), WRONG: ("wrong", "✗")}

STYLE = """
:root { --ink: #1c1c1c; --soft: #5c5c5c; --line: #dcdcdc; --paper: #fff; --card: #f7f7f5;
        --right: #00694d; --imprecise: #8a5a00; --wrong: #a83c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #a5a5a0; --line: #3a3a3a; --paper: #161616;
        --card: #202020; --right: #4cc9a0; --imprecise: #eab04d; --wrong: #ff8a57; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--ink); background: var(--paper);
       font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; }
a { color: inherit; } code { font-size: .85em; background: var(--card); padding: .1em .3em; }
.soft { color: var(--soft); font-size: .9rem; }
.index { columns: 22rem; padding: 0; list-style: none; font-size: .9rem; }
.index li { break-inside: avoid; padding: .1rem 0; }
article { border: 1px solid var(--line); border-left: 4px solid var(--line); background: var(--card);
          padding: .75rem 1rem; margin: 1rem 0; }
article.right { border-left-color: var(--right); } article.imprecise { border-left-color: var(--imprecise); }
article.wrong { border-left-color: var(--wrong); }
article h3 { margin: 0; font-size: 1rem; } blockquote { margin: .4rem 0; font-style: italic; }
article p { margin: .4rem 0; } .verdict { font-weight: 600; }
.right .verdict { color: var(--right); } .imprecise .verdict { color: var(--imprecise); }
.wrong .verdict { color: var(--wrong); } .fails { color: var(--wrong); font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .5rem .2rem 0; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 400; border: 0; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; } img { width: 100%; height: auto; background: #fff; }
figcaption { color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) { article { padding: .6rem; } .by { display: none; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>microgradx lab</title><style>{style}</style></head><body>
<h1>The vanishing gradient, claim by claim</h1>
<p>{summary}</p>
<p class="soft">{run}</p>
<ul class="index">{index}</ul>
{sections}
</body></html>
"""


def shown(x):
    """A number in at most seven digits.

    >>> from microgradx.lab.page import shown
    >>> shown(0.25), shown(9), shown(9.5367431640625e-07), shown(3906.25)
    ('0.25', '9', '9.536743e-07', '3906.25')
    """
    return f"{x:.7g}".replace("inf", "∞")


def _measured(number):
    text = shown(number.measured) if number.spread is None else f"{number.measured:.4g}"
    if number.spread:
        text += f" ({number.spread[0]:.3g} … {number.spread[1]:.3g}, {number.runs} seeds)"
    return text


def _predicted(number):
    if number.predicted is None:
        sides = [f"≥ {shown(number.low)}" * (number.low > -np.inf), f"≤ {shown(number.high)}" * (number.high < np.inf)]
        return " and ".join(filter(None, sides))
    slack = number.high - number.predicted
    return shown(number.predicted) + (f" ± {slack:.1g}" if slack else "")


def _row(number):
    mark = "" if number.agrees else ' <span class="fails">disagrees</span>'
    return (f"<tr><td>{escape(number.what)}</td><td>{escape(_measured(number))}{mark}</td>"
            f'<td>{escape(_predicted(number))}</td><td class="by">{escape(number.by)}</td></tr>')


def _table(numbers):
    return ('<table><tr><th>number</th><th>measured</th><th>predicted</th><th class="by">by</th></tr>'
            + "".join(map(_row, numbers)) + "</table>")


def _card(card):
    claim = card.claim
    kind, mark = MARKS[claim.verdict]
    state = "" if card.holds else '<p class="fails">The numbers of this run do not bear the verdict out.</p>'
    first, rest = card.numbers[:6], card.numbers[6:]
    more = f"<details><summary>{len(rest)} more numbers</summary>{_table(rest)}</details>" if rest else ""
    return (f'<article class="{kind}" id="{escape(claim.id)}"><h3>{escape(claim.id)} '
            f'<span class="verdict">{mark} {escape(claim.verdict)}</span></h3>'
            f'<blockquote>{escape(claim.sentence)}</blockquote><p class="soft">From {escape(claim.source)}. '
            f"Tested: {escape(claim.test)}</p><p>{escape(claim.words)}</p>{state}{_table(first)}{more}</article>")


def _figure(caption, figure):
    image = base64.b64encode(png(figure)).decode()
    return (f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{image}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def _section(outcome):
    about = " ".join(outcome.module.__doc__.partition("\n")[2].split())
    return (f'<section id="{escape(outcome.name)}"><h2>{escape(outcome.title)}</h2>'
            + (f"<p>{escape(about)}</p>" if about else "")
            + f'<p class="soft">Run it: <code>{escape(outcome.command)}</code> ({outcome.seconds:.1f} s)</p>'
            + '<div class="figures">' + "".join(_figure(*pair) for pair in figures(outcome)) + "</div>"
            + "".join(map(_card, outcome.cards)) + "</section>")


def _index(outcome):
    for card in outcome.cards:
        kind, mark = MARKS[card.claim.verdict]
        text = shorten(card.claim.sentence, 64, placeholder=" …")
        yield (card.claim.id, f'<li class="{kind}"><a href="#{escape(card.claim.id)}">{escape(card.claim.id)}</a> '
               f'<span class="verdict">{mark}</span> {escape(text)}</li>')


def _order(item):
    """The seeds' claims by letter and number, then the literature's."""
    claim = item[0]
    return (claim[0] not in SOURCES or not claim[1:].isdigit(), claim[0], claim[1:].zfill(2))


def html(outcomes):
    """The page of some ``Outcome``s, a str."""
    cards = [card for outcome in outcomes for card in outcome.cards]
    counts = ", ".join(f"{sum(card.claim.verdict == verdict for card in cards)} {verdict}" for verdict in MARKS)
    held = sum(card.holds for card in cards)
    summary = (f"{len(cards)} claims of the seeds and of the literature: {counts}. "
               f"{'All' if held == len(cards) else held} of the verdicts hold in this run.")
    seeds = sorted({outcome.seed for outcome in outcomes})
    size = "quick" if any(outcome.quick for outcome in outcomes) else "full"
    run = (f"Seed {', '.join(map(str, seeds))}, {size} size, {sum(o.seconds for o in outcomes):.0f} s on "
           f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}.")
    items = sorted((item for outcome in outcomes for item in _index(outcome)), key=_order)
    return PAGE.format(style=STYLE, summary=escape(summary), run=escape(run), index="".join(text for _, text in items),
                       sections="".join(map(_section, outcomes)))
