"""A callback of Keras 3 with torch as its backend."""
import functools

from microgradx.errors import OptionError
from microgradx.flow.integrations.callback import Watching

__all__ = ["Steps", "callback"]


def callback(*, views=(), **options):
    """A ``Watching`` for ``model.fit(callbacks=[...])``, with the ``options`` of ``flow.watch``; ask it with
    ``diagnose()``. A batch is a step. Raises ``OptionError`` for a backend that is not torch."""
    import keras
    if keras.backend.backend() != "torch":
        raise OptionError(f"callback: Keras runs on {keras.backend.backend()}; only what torch computes is seen "
                          "(KERAS_BACKEND=torch)")
    return _class()(views=views, **options)


@functools.cache
def _class():
    import keras

    class WatchCallback(Watching, keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            kind = type(self.model.optimizer).__name__                  # as the report calls it
            self.begin(self.model, type(kind, (Steps,), {})(self.model))

        def on_train_batch_begin(self, batch, logs=None):
            self.run.before_step(closure=True)

        def on_train_batch_end(self, batch, logs=None):
            self.run.after_step()

        def on_train_end(self, logs=None):
            self.end()
    return WatchCallback


class Steps:
    """What a ``Loop`` asks of an optimizer, of Keras's."""

    def __init__(self, model):
        self.model = model

    @property
    def param_groups(self):
        """One group, as torch's optimizers have it."""
        import keras
        optimizer = self.model.optimizer
        return [{"params": [variable.value for variable in self.model.trainable_variables],
                 "lr": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
                 "weight_decay": optimizer.weight_decay, "momentum": getattr(optimizer, "momentum", 0)}]
