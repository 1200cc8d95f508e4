"""Watched loops in the training libraries and views that people use, which are imported when a function is called.

- ``lightning``, ``transformers``, ``keras``: ``callback()`` for their trainers, with a ``run`` and ``diagnose()``
- ``tensorboard``: ``log(run, writer)``, scalars and histograms
- ``jupyter``, ``terminal``: ``show(run)`` and ``live(run)``, views that follow the run
"""

__all__: list[str] = []
