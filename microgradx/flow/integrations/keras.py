"""A callback of Keras 3 with torch as its backend: ``model.fit(..., callbacks=[watching := WatchCallback()])``, then
``watching.diagnose()``."""
import keras

from microgradx.errors import OptionError
from microgradx.flow.integrations.callback import Watching

__all__ = ["WatchCallback"]


class WatchCallback(Watching, keras.callbacks.Callback):
    """Watches the steps of ``fit``, each of which is a batch. Raises ``OptionError`` for another backend."""

    def on_train_begin(self, logs=None):
        if keras.backend.backend() != "torch":
            raise OptionError(f"WatchCallback: Keras runs on {keras.backend.backend()}; only what torch computes is "
                              "seen (KERAS_BACKEND=torch)")
        kind = type(self.model.optimizer).__name__
        self.begin(self.model, type(kind, (Steps,), {})(self.model))

    def on_train_batch_begin(self, batch, logs=None):
        self.run.before_step(closure=True)

    def on_train_batch_end(self, batch, logs=None):
        self.run.after_step()

    def on_train_end(self, logs=None):
        self.end()


class Steps:
    """What is asked of an optimizer, of Keras's."""

    def __init__(self, model):
        self.model = model

    @property
    def param_groups(self):
        optimizer = self.model.optimizer
        return [{"params": [variable.value for variable in self.model.trainable_variables],
                 "lr": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
                 "weight_decay": optimizer.weight_decay, "momentum": getattr(optimizer, "momentum", 0)}]
