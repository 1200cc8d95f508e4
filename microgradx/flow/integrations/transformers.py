"""A callback of Hugging Face's Trainer: ``Trainer(..., callbacks=[watching := WatchCallback()])``, then
``watching.diagnose()``."""
from transformers import TrainerCallback

from microgradx.flow.integrations.callback import Watching

__all__ = ["WatchCallback"]


class WatchCallback(Watching, TrainerCallback):
    """Watches the Trainer's model and optimizer."""

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
        self.begin(model, optimizer)

    def on_train_end(self, args, state, control, **_):
        self.end()
