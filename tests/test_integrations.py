"""The callbacks, in the real libraries: a sound training that they call healthy, and a sick one that they name."""
import io
import subprocess
import sys

import numpy as np
import pytest

import microgradx as mgx
from microgradx import flow, nn, optim
from microgradx.errors import OptionError

X, Y = (np.ascontiguousarray(array[:128]) for array in mgx.data.digits())
X, Y = X.astype("float32"), Y.astype("int64")
pytestmark = pytest.mark.filterwarnings("ignore")           # these libraries warn of themselves and of each other


def ours(**options):
    net = nn.Sequential(nn.Linear(64, 24, rng=0), nn.ReLU(), nn.Linear(24, 10, rng=1))
    return net, optim.SGD(net.parameters(), lr=0.3)


def loop(run, net, optimizer, steps=12):
    with run:
        for _ in range(steps):
            optimizer.zero_grad()
            run.loss(nn.functional.cross_entropy(net(mgx.Tensor(X)), Y)).backward()
            optimizer.step()


def lightning_fit(rate=0.3, wrong=False, **options):
    pl, torch = pytest.importorskip("lightning.pytorch"), pytest.importorskip("torch")
    from microgradx.flow.integrations.lightning import callback

    class Digits(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))

        def training_step(self, batch, _):
            if wrong:
                raise KeyError("a fault of the user's")
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=rate)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), 32)
    watching = callback(every=4)
    trainer = pl.Trainer(max_epochs=6, callbacks=[watching], accelerator="cpu", logger=False, enable_progress_bar=False,
                         enable_checkpointing=False, enable_model_summary=False, **options)
    with pytest.raises(OptionError, match="the training has not begun"):
        watching.diagnose()
    trainer.fit(Digits(), loader)
    return watching


def test_lightning():
    watching = lightning_fit()
    found = watching.diagnose()
    assert found.healthy and not found.unseen and found.settings["steps"] == 24, str(found)
    assert [row["name"] for row in found.layers] == ["net.0 Linear", "net.2 Linear"] and watching.run.handles == []
    assert lightning_fit(rate=0.0).diagnose().verdict == "weights never move"
    assert lightning_fit(accumulate_grad_batches=2, gradient_clip_val=1.0).diagnose().healthy
    with pytest.raises(KeyError, match="a fault of the user's"):
        lightning_fit(wrong=True)


def transformers_fit(tmp_path, rate=0.05, **options):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    from microgradx.flow.integrations.transformers import callback
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=17, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=32, max_position_embeddings=64, num_labels=10)
    model = transformers.BertForSequenceClassification(config)
    data = [{"input_ids": torch.full((8,), int(y)), "labels": int(y)} for y in Y]
    watching = callback(every=4)
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=4, per_device_train_batch_size=16, learning_rate=rate, report_to=[],
        save_strategy="no", disable_tqdm=True, use_cpu=True, logging_strategy="no", **options)
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[watching]).train()
    return watching


def test_transformers(tmp_path):
    watching = transformers_fit(tmp_path, rate=0.01)
    found = watching.diagnose()
    assert found.settings["steps"] == 32 and found.settings["optimizer"] == "AdamW" and not found.unseen, str(found)
    assert found.healthy and found.doubt is None, str(found)
    assert len(found.layers) >= 8 and None not in found.losses and watching.run.handles == []
    assert transformers_fit(tmp_path, rate=0.0).diagnose().verdict == "weights never move"


def keras_fit(rate=0.3):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend; set KERAS_BACKEND=torch")
    from microgradx.flow.integrations.keras import callback
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(24, activation="relu"),
                              keras.layers.Dropout(0.1), keras.layers.Dense(10)])
    model.compile(keras.optimizers.SGD(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    watching = callback(every=4)
    model.fit(X, Y, epochs=6, batch_size=32, verbose=0, validation_split=0.1, callbacks=[watching])
    return watching


def test_keras():
    watching = keras_fit()
    found = watching.diagnose()
    assert found.healthy and not found.unseen and found.settings["steps"] == 24, str(found)
    assert found.settings["optimizer"] == "SGD" and [row["name"].split()[1] for row in found.layers] == ["Dense"] * 2
    assert all(row["update"] > 0 for row in found.parameters) and watching.run.handles == []
    assert keras_fit(rate=0.0).diagnose().verdict == "weights never move"


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    torch = pytest.importorskip("torch")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from microgradx.flow.integrations.tensorboard import log
    net, optimizer = ours()
    with SummaryWriter(str(tmp_path)) as writer:
        loop(log(flow.watch(net, optimizer, every=4), writer), net, optimizer)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"flow/loss", "flow/rate", "flow/gradient", "flow/log10 error/0",
                                             "flow/log10 error/2"}
    assert [event.step for event in events.Scalars("flow/loss")] == [0, 1, 2, 4, 8]
    assert [event.step for event in events.Scalars("flow/log10 error/0")] == [0, 4, 8]
    assert set(events.Tags()["histograms"]) == {f"flow/log10 gradient/{name}" for name, _ in net.named_parameters()}
    assert -12 < events.Histograms("flow/log10 gradient/0.weight")[0].histogram_value.max < 0 and torch


def test_what_a_writer_is_given():
    from microgradx.flow.integrations.tensorboard import log
    written = []

    class Writer:
        def add_scalar(self, tag, value, step):
            written.append((tag, step))

        def add_histogram(self, tag, values, step):
            assert np.isfinite(values).all()
            written.append((tag, step))
    net, optimizer = ours()
    run = log(flow.watch(net, optimizer, every=4), Writer(), prefix="net")
    loop(run, net, optimizer)
    assert ("net/loss", 8) in written and ("net/log10 gradient/2.bias", 1) in written and not run.unseen


def test_jupyter(monkeypatch):
    ipython = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html.data)
    from microgradx.flow.integrations import jupyter
    monkeypatch.setattr(ipython, "display", lambda html, display_id: shown.append(html.data) or Handle())
    net, optimizer = ours()
    run = jupyter.show(flow.watch(net, optimizer, every=4))
    loop(run, net, optimizer)
    assert len(shown) == 6 and "no step was seen yet" in shown[0] and "<table>" in shown[-1]
    assert not run.unseen, run.unseen


@pytest.mark.parametrize("there", [True, False])
def test_terminal(there, monkeypatch, capsys):
    from microgradx.flow.integrations.terminal import live
    if there:
        console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=120)
    else:
        console = None
        monkeypatch.setitem(sys.modules, "rich.console", None)
    net, optimizer = ours()
    run = flow.watch(net, optimizer, every=4)
    with live(run, console):
        loop(run, net, optimizer)
    text = console.file.getvalue() if there else capsys.readouterr().out
    assert "step 8, loss" in text and not run.unseen, run.unseen
    assert ("0.weight" in text and "healthy: " in text or not there) and run.steps == 12


def test_nothing_of_them_is_imported_unasked():
    code = ("import sys, microgradx.flow.loop, microgradx.flow.integrations; sys.exit(any(name in sys.modules for name "
            "in ('torch', 'rich', 'keras', 'lightning', 'transformers', 'tensorboard', 'IPython')))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
