"""A watched loop in a notebook."""
import html

__all__ = ["show"]


def show(run):
    """Display a ``loop.Loop`` below the cell, renewed after each measured step; returns ``run``."""
    from IPython.display import HTML, display
    handle = display(HTML(_view(run)), display_id=True)

    def renew(run):
        handle.update(HTML(_view(run)))
    run.on_measure(renew)
    return run


def _view(run):
    status = f"<p><code>{html.escape(run.status())}</code></p>"
    return status + (run.diagnose()._repr_html_() if run.steps else "")
