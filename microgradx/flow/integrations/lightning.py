"""A callback of Lightning."""
import functools
import importlib
import sys

from microgradx.flow.integrations.callback import Watching

__all__ = ["callback"]


def callback(*, views=(), **options):
    """A ``Watching`` for ``lightning.Trainer(callbacks=[...])``, with the ``options`` of ``flow.watch``; ask it with
    ``diagnose()``. It watches the steps of the first optimizer."""
    former = "pytorch_lightning" in sys.modules and "lightning" not in sys.modules      # with classes of its own
    return _class("pytorch_lightning" if former else "lightning.pytorch")(views=views, **options)


@functools.cache
def _class(library):
    class WatchCallback(Watching, importlib.import_module(library).Callback):
        def on_train_start(self, trainer, pl_module):
            self.begin(pl_module, trainer.optimizers[0])
            for other in trainer.optimizers[1:]:
                self.run.note_unseen(f"the steps of another optimizer, {type(other).__name__}")

        def on_before_backward(self, trainer, pl_module, loss):
            self.run.loss(loss)

        def on_train_end(self, trainer, pl_module):
            self.end()

        def on_exception(self, trainer, pl_module, exception):
            self.end()
    return WatchCallback
