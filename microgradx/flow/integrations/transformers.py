"""A callback of Hugging Face's Trainer."""
import functools

from microgradx.flow.integrations.callback import Watching

__all__ = ["callback"]


def callback(*, views=(), **options):
    """A ``Watching`` for ``transformers.Trainer(callbacks=[...])``, with the ``options`` of ``flow.watch``; ask it with
    ``diagnose()``."""
    return _class()(views=views, **options)


@functools.cache
def _class():
    from transformers import TrainerCallback

    class WatchCallback(Watching, TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
            self.begin(model, optimizer)

        def on_train_end(self, args, state, control, **_):
            self.end()
    return WatchCallback
