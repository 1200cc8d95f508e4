"""Watched loops in the training libraries and views that people use. Each module is imported only when it is asked for.

- ``lightning``, ``transformers``, ``keras``: a ``WatchCallback`` each, with a ``run`` and ``diagnose()``
- ``tensorboard``: ``log(run, writer)``, scalars and histograms
- ``jupyter``, ``terminal``: ``show(run)`` and ``live(run)``, views that follow the run
"""

__all__: list[str] = []
