"""The command line: ``microgradx demo``, ``lab``, ``doctor``, ``info``."""
import contextlib
import runpy
import sys
import traceback
from pathlib import Path
from types import ModuleType

try:
    import click
    import matplotlib  # noqa: F401
    import rich  # noqa: F401
except ImportError as error:
    raise ImportError(f"microgradx: the command line needs {error.name}, which is not installed: "
                      "pip install 'microgradx[lab]'", name=error.name) from None

from microgradx import parallel
from microgradx.config import show_config
from microgradx.errors import Error, OptionError, is_of_a_signal


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
@click.option("--executor", metavar="processes=N", help="Run them in N processes.")
@click.option("--store", type=click.Path(file_okay=False, path_type=Path),
              help="A directory for results, from which another call goes on.")
def run_(names, everything, seed, quick, out, executor, store):
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
    try:
        workers = parallel.executor_of(executor) if executor else contextlib.nullcontext()
    except OptionError as error:
        raise click.BadParameter(str(error)) from error
    with workers as pool:
        held = _run(list(dict.fromkeys(names or EXPERIMENTS)), seed, quick, out, pool, store)
    if not held:
        sys.exit(1)


def _run(names, seed, quick, out, executor, store):
    """Run, print the verdicts, write the page; whether all of them hold."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from microgradx import lab
    from microgradx.lab.page import html
    console, outcomes = Console(highlight=False), []
    with Progress(TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=console) as progress:
        task = progress.add_task("experiments", total=len(names))
        for outcome in lab.run_each(names, seed, quick, executor, store):
            outcomes.append(outcome)
            for card in outcome.cards:
                lost = "" if card.holds else "  [bold red]the numbers do not bear it out[/]"
                console.print(f"  {card.claim.id:<4} {card.claim.verdict:<14} {_first(card)}{lost}")
            progress.update(task, advance=1)
        progress.update(task, description="page")
        outcomes.sort(key=lambda outcome: names.index(outcome.name))
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

# What a file calls these, where no option says it, and the attribute that tells them from what else is called so.
CALLED = {"loss": (("loss_fn", "criterion", "cost", "loss"), ("__call__",)),
          "optimizer": (("optimizer", "opt"), ("param_groups", "__call__")),
          "data": (("train_loader", "loader", "dataloader", "batch", "data"), ("__iter__",)),
          "schedule": (("scheduler", "schedule"), ("step",))}


@main.command()
@click.argument("target", metavar="FILE.py:MODEL")
@click.option("--loss", help="The cost in FILE.py, a function of output and target; by kind of target unless found.")
@click.option("--optimizer", help="The optimizer in FILE.py, or a function of the parameters; SGD unless found.")
@click.option("--schedule", help="The schedule of the rate in FILE.py.")
@click.option("--data", help="A loader or a pair in FILE.py, or an .npz with arrays x and y; digits unless found.")
@click.option("--samples", default=256, show_default=True, type=click.IntRange(2), help="Rows of an .npz or digits.")
@click.option("--steps", default=100, show_default=True, type=click.IntRange(1), help="Steps of each training.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def doctor(target, loss, optimizer, schedule, data, samples, steps, as_json):
    """Say why the net MODEL of FILE.py does not learn, and what makes it learn.

    MODEL is a module of microgradx or torch, or a function that makes one. The exit code is 0 for a healthy net, 1 for
    a sick one, 2 for what cannot be diagnosed.
    """
    from microgradx.flow import diagnose
    path, _, name = target.rpartition(":")
    if not path or not Path(path).is_file():
        raise click.BadParameter(f"{target!r} names no file; FILE.py:MODEL, as in net.py:model")
    with _in_a_sentence(path):
        names = runpy.run_path(path)
        model = _model(path, names, name)
        if data is not None and data not in names and not Path(data).is_file():
            raise click.BadParameter(f"{path} has no {data}, and no file is called so", param_hint="--data")
        batch = _data(path, names, data, samples)
        cost = _part(path, names, "loss", loss) or _cost(model)
        found = diagnose(model, cost, batch, _of(model, _part(path, names, "optimizer", optimizer)), steps=steps,
                         schedule=_part(path, names, "schedule", schedule))
    print(found.to_json(indent=1) if as_json else found)
    sys.exit(0 if found.healthy else 1)


@contextlib.contextmanager
def _in_a_sentence(path):
    """What is raised within it, by the file or by what is made of it, ends the program with one sentence and 2."""
    try:
        yield
    except click.ClickException:
        raise
    except (Exception, SystemExit) as error:
        if is_of_a_signal(error):
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"{path}, line {lines[-1]}: " if lines else ""
        kind = "" if isinstance(error, Error) else f"{type(error).__name__}: "
        click.echo(f"microgradx doctor: {where}{kind}{' '.join(str(error).split())}", err=True)
        sys.exit(2)


def _model(path, names, name):
    from microgradx.flow.engines import engine_of
    if name not in names:
        raise click.BadParameter(f"{path} has no {name}; it has "
                                 f"{', '.join(n for n in names if not n.startswith('_')) or 'no names'}")
    model = names[name]
    if engine_of(model) is None and callable(model):
        model = model()
    if engine_of(model) is None:
        raise click.BadParameter(f"{name} is a {type(model).__name__}, neither a Module of microgradx or torch nor a "
                                 "function that makes one")
    return model


def _part(path, names, part, name):
    """What the file calls by this name, or by one of those that are usual, if it can be that."""
    if name is not None:
        if name not in names:
            raise click.BadParameter(f"{path} has no {name}", param_hint=f"--{part}")
        return names[name]
    usual, attributes = CALLED[part]
    found = (names[n] for n in usual if n in names and not isinstance(names[n], ModuleType | str))
    return next((value for value in found if any(hasattr(value, attribute) for attribute in attributes)), None)


def _of(model, optimizer):
    """An optimizer, also of a function of parameters."""
    return optimizer if optimizer is None or hasattr(optimizer, "param_groups") or not callable(optimizer) else (
        optimizer(model.parameters()))


def _cost(model):
    """Cross-entropy of targets that are integers, the mean squared error of others."""
    from microgradx.flow.engines import engine_of
    engine = engine_of(model)
    functional = engine.framework.nn.functional

    def cost(output, target):
        labels = engine.array(target).dtype.kind in "iu"
        return functional.cross_entropy(output, target) if labels else functional.mse_loss(output, target)
    return cost


def _data(path, names, name, samples):
    import numpy as np

    from microgradx import data
    if name is None or not Path(name).is_file():
        found = _part(path, names, "data", name)
        if found is not None:
            return found
        x, y = data.digits()
    else:
        with np.load(name, allow_pickle=False) as arrays:
            if not {"x", "y"} <= set(arrays):
                raise click.BadParameter(f"{name} has {', '.join(arrays)}, not x and y")
            x, y = arrays["x"], arrays["y"]
    return x[:samples], y[:samples]
