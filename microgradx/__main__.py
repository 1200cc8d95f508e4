"""``python -m microgradx``, and the command ``microgradx``."""
import sys


def main() -> None:
    """The command line, or one line about what it needs."""
    try:
        from microgradx.cli import main as command
    except ImportError as error:
        sys.exit(str(error))
    command()


if __name__ == "__main__":
    main()
