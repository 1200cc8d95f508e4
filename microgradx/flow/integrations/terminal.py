"""A watched loop in a terminal."""
import contextlib

__all__ = ["live"]


@contextlib.contextmanager
def live(run, console=None):
    """A context in which a table of rich follows a ``loop.Loop``, renewed after each measured step; the latest stays.
    Without rich the status is printed as a line."""
    try:
        from rich.console import Group
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        run.on_measure(lambda run: print(run.status()))
        yield run
        return

    def view():
        found = run.diagnose() if run.steps else None
        parts = [Text(run.status())]
        if found:
            parts.append(Text(f"{found.verdict}: {found.cause}", style="green" if found.healthy else "red"))
        for head, rows in found._tables() if found else ():
            table = Table(*head, box=None, padding=(0, 1, 0, 0))
            for row in rows:
                table.add_row(*map(Text, row))
            parts.append(table)
        return Group(*parts)

    with Live(view(), console=console, auto_refresh=False) as shown:
        run.on_measure(lambda run: shown.update(view(), refresh=True))
        yield run
