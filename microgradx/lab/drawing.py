"""Figures: colours that the colour-blind can tell apart, one axes each, seed and dtype printed on it."""
from types import SimpleNamespace

__all__ = ["COLOURS", "figures", "png"]

# Okabe and Ito (2008).
PALETTE = {"blue": "#0072B2", "orange": "#D55E00", "green": "#009E73", "yellow": "#E69F00", "pink": "#CC79A7",
           "sky": "#56B4E9", "pale": "#BFDBEC", "black": "#222222"}


def _ordered(count):
    """``count`` colours for what has no order of its own; marks tell the rest apart."""
    return [PALETTE[name] for name in ("blue", "orange", "green", "yellow", "pink", "sky", "black")][:count]


def _box(*args, **kwargs):
    from matplotlib.patches import Rectangle
    return Rectangle(*args, **kwargs)


COLOURS = SimpleNamespace(**PALETTE, ordered=_ordered, box=_box)


def figures(outcome):
    """(caption, matplotlib Figure) of an ``Outcome``, one by one."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for caption, draw in outcome.module.FIGURES:
        with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
                         "legend.frameon": False}):
            figure = Figure(figsize=(5.4, 3.9), layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.subplots()
            draw(outcome.found, axes, COLOURS)
            size = "quick" if outcome.quick else "full"
            figure.supxlabel(f"{outcome.name} · seed {outcome.seed} · {outcome.module.DTYPE} · {size} size", fontsize=7,
                             color="0.4", x=0.99, ha="right")
            yield caption, figure


def png(figure):
    """The figure as the bytes of a PNG."""
    from io import BytesIO
    target = BytesIO()
    figure.savefig(target, format="png", dpi=150)
    return target.getvalue()
