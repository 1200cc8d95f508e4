"""The command line: ``microgradx demo``, ``lab``, ``doctor``, ``info``."""
import importlib
import runpy
import sys
from pathlib import Path

try:
    import click
    import matplotlib  # noqa: F401
    import rich  # noqa: F401
except ImportError as error:
    raise ImportError(f"microgradx: the command line needs {error.name}, which is not installed: "
                      "pip install 'microgradx[lab]'", name=error.name) from None

from microgradx.config import show_config
from microgradx.errors import Error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """A compiled autograd engine, and an instrument for the vanishing-gradient problem."""


def _picture(context, parameter, path):
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.BadParameter(f"{path} ends in none of .png, .svg, .pdf")
    if not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.absolute().parent}")
    return path


@main.command()
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Weights, split and data order.")
@click.option("--epochs", default=30, show_default=True, type=click.IntRange(1), help="Passes over the data.")
@click.option("--out", default="demo.png", show_default=True, callback=_picture, help="Where the picture goes.")
@click.option("--quick", is_flag=True, help="6 epochs.")
def demo(seed, epochs, out, quick):
    """Watch gradients vanish on real digits, and the same net cured."""
    from microgradx.demo import run
    run(seed=seed, epochs=6 if quick else epochs, out=out)


@main.command()
def info():
    """Versions, instruction set, BLAS, threads."""
    show_config()


# ----- lab -----------------------------------------------------------------------------------------------------------

@main.group()
def lab():
    """Every claim about the vanishing gradient, as an experiment that you can run."""


@lab.command("list")
def list_():
    """The experiments and the claims that they test."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from microgradx.lab import EXPERIMENTS
    table = Table("experiment", "claims", "question", box=SIMPLE_HEAD)
    for name, module in EXPERIMENTS.items():
        table.add_row(name, " ".join(claim.id for claim in module.CLAIMS), module.__doc__.partition("\n")[0])
    Console().print(table)


@lab.command("run")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every experiment.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The first seed of each experiment.")
@click.option("--quick", is_flag=True, help="Smaller sizes: all in under three minutes.")
@click.option("--out", default="lab", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="The directory for the page and the figures.")
def run_(names, everything, seed, quick, out):
    """Run experiments; write their claim cards and figures to a page, OUT/index.html."""
    from microgradx.lab import EXPERIMENTS
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(EXPERIMENTS)}")
    if bool(names) == everything:
        raise click.UsageError("give the names of experiments, or --all (see: microgradx lab list)")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}") from error
    if not _run(dict.fromkeys(names or EXPERIMENTS), seed, quick, out):
        sys.exit(1)


def _run(names, seed, quick, out):
    """Run, print the verdicts, write the page; whether all of them hold."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from microgradx import lab
    from microgradx.lab.page import html
    console, outcomes = Console(highlight=False), []
    with Progress(TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=console) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            outcome = lab.run(name, seed, quick)
            outcomes.append(outcome)
            for card in outcome.cards:
                lost = "" if card.holds else "  [bold red]the numbers do not bear it out[/]"
                console.print(f"  {card.claim.id:<4} {card.claim.verdict:<14} {_first(card)}{lost}")
            progress.update(task, advance=1)
        progress.update(task, description="page")
        (out / "index.html").write_text(html(outcomes), encoding="utf-8")
    held = [card.holds for outcome in outcomes for card in outcome.cards]
    console.print(f"{sum(held)} of {len(held)} verdicts hold. The page is [bold]{out / 'index.html'}[/].")
    return all(held)


def _first(card):
    """The first number in one line, without rich's markup."""
    from rich.markup import escape

    from microgradx.lab.page import shown
    number = card.numbers[0]
    predicted = "" if number.predicted is None else f" (predicted {shown(number.predicted)})"
    return escape(f"{number.what}: {shown(number.measured)}{predicted}")


# ----- doctor --------------------------------------------------------------------------------------------------------

@main.command()
@click.argument("target", metavar="FILE.py:MODEL")
@click.option("--data", "file", type=click.Path(exists=True, dir_okay=False),
              help="An .npz with arrays x and y; digits unless told.")
@click.option("--samples", default=256, show_default=True, type=click.IntRange(2), help="Rows that are looked at.")
def doctor(target, file, samples):
    """Say why the net MODEL of FILE.py does not learn: a Module, a torch.nn.Sequential, or a function that makes one.

    The cost is cross-entropy if y are integers, else the mean squared error.
    """
    from microgradx.nn import functional as F
    try:
        diagnose = importlib.import_module("microgradx.flow").diagnose
    except AttributeError:
        sys.exit("microgradx doctor: this version of microgradx.flow has no diagnose")
    try:
        x, y = _data(file, samples)
        print(diagnose(_model(target), F.cross_entropy if y.dtype.kind in "iu" else F.mse_loss, (x, y)))
    except Error as error:
        sys.exit(f"microgradx doctor: {error}")


def _model(target):
    from microgradx.nn import Module
    path, _, name = target.rpartition(":")
    if not path or not Path(path).is_file():
        raise click.BadParameter(f"{target!r} names no file; FILE.py:MODEL, as in net.py:model")
    names = runpy.run_path(path)
    if name not in names:
        raise click.BadParameter(f"{path} has no {name}; it has "
                                 f"{', '.join(n for n in names if not n.startswith('_')) or 'no names'}")
    model, torch = names[name], sys.modules.get("torch")
    kinds = (Module, torch.nn.Module) if torch else Module
    model = model if isinstance(model, kinds) or not callable(model) else model()
    if torch and isinstance(model, torch.nn.Module):
        from microgradx.flow.torch import same
        model = same(model)
    if not isinstance(model, Module):
        raise click.BadParameter(f"{name} is a {type(model).__name__}, neither a Module nor a function that makes one")
    return model


def _data(file, samples):
    import numpy as np

    from microgradx import data
    if file is None:
        x, y = data.digits()
    else:
        with np.load(file, allow_pickle=False) as arrays:
            if not {"x", "y"} <= set(arrays):
                raise click.BadParameter(f"{file} has {', '.join(arrays)}, not x and y")
            x, y = arrays["x"], arrays["y"]
    return x[:samples], y[:samples]
