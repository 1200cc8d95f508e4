"""The command line: ``microgradx demo``, ``microgradx info``."""
import sys
from pathlib import Path

try:
    import click
    import matplotlib  # noqa: F401
    import rich  # noqa: F401
except ImportError as error:
    sys.exit(f"microgradx: the command line needs {error.name}, which is not installed: pip install 'microgradx[lab]'")

from microgradx.config import show_config


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
