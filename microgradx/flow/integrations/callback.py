"""What the callbacks of all training libraries share."""
from microgradx.errors import OptionError
from microgradx.flow.loop import watch

__all__ = ["Watching"]


class Watching:
    """Holds the ``run`` of a training, None before it begins. ``options`` are those of ``flow.watch``, and ``views``
    functions that are called with the run when it begins, such as ``jupyter.show``."""

    def __init__(self, *, views=(), **options):
        super().__init__()
        self.views, self.options, self.run = views, options, None

    def begin(self, model, optimizer):
        """The training begins."""
        self.run = watch(model, optimizer, **self.options)
        for view in self.views:
            view(self.run)
        self.run.__enter__()

    def end(self):
        """The training is over, or was broken off."""
        if self.run is not None:
            self.run.__exit__(None, None, None)

    def diagnose(self):
        """The ``LoopDiagnosis`` of what was seen so far. Raises ``OptionError`` before the training has begun."""
        if self.run is None:
            raise OptionError("diagnose: the training has not begun, so nothing was seen")
        return self.run.diagnose()
