"""A callback of Lightning: ``Trainer(callbacks=[watching := WatchCallback()])``, then ``watching.diagnose()``."""
import sys

from microgradx.flow.integrations.callback import Watching

if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:       # its former name, with its own classes
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback

__all__ = ["WatchCallback"]


class WatchCallback(Watching, Callback):
    """Watches the steps of the first optimizer."""

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
