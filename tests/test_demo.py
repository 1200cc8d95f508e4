"""The demo and the command line."""
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from microgradx import Tensor, config, data, demo, nn
from microgradx.cli import main


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick run at 80 columns: what it printed, and its picture."""
    path = tmp_path_factory.mktemp("demo") / "picture.png"
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["demo", "--quick", "--out", str(path)])
    assert result.exit_code == 0, result.output
    return result.output, path


def test_what_is_printed(quick):
    text, path = quick
    assert max(map(len, text.splitlines())) <= 80
    assert "6/6 epochs" in text and "seed (0)" in text and "0.236" in text
    assert str(path.name) in text.replace("\n", "")
    rows = [line.split() for line in text.splitlines() if line[:3].strip().isdigit() and "over" not in line]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"] * 2 and all(len(row) == 5 for row in rows)


def test_the_picture(quick):
    content = quick[1].read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 20_000


def test_the_disease_and_the_cure():
    digits = data.digits(split=True, seed=0)
    losses = []
    sick = demo.train(demo.SICK, digits, 0, 2, losses.append)
    cured = demo.train(demo.CURED, digits, 0, 20, losses.append)
    assert len(losses) == 22
    assert sick.start[0][0] / sick.start[0][4] < 0.01 < 0.3 < cured.start[0][0] / cured.start[0][4] < 3
    assert sick.accuracy < 0.2 and cured.accuracy > 0.8
    assert abs(sick.factor(sick.start[0]) / sick.predicted - 1) < 0.2
    assert abs(cured.factor(cured.start[0]) / cured.predicted - 1) < 0.3


def test_mean_field_numbers():
    x = data.digits()[0]
    assert abs(demo.mean_field(demo.SICK, x) - 0.2360) < 5e-4           # sqrt(chi) of the deep limit
    assert abs(demo.mean_field(demo.CURED, x) - 1) < 1e-12


def test_norms_against_finite_differences():
    """||dC/dW|| and the error norm, by moving every weight and every pre-activation of layer 2 a little."""
    x, y = data.digits()
    x, y = x[:4].astype(np.float64), y[:4]
    net = demo.build(demo.SICK, 1)
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.weight, layer.bias = (Tensor(t.numpy().astype(np.float64), requires_grad=True)
                                        for t in (layer.weight, layer.bias))

    def quadratic(out, labels):
        return demo.F.quadratic_cost(out.sigmoid(), demo.F.one_hot(labels, 10, "float64"))
    errors, weights = demo.profile(net, quadratic, x, y)
    a, h = net[1](net[0](Tensor(x))).detach(), 1e-5
    z = net[2](a).detach().numpy()

    def cost(z):
        return quadratic(net[3:](Tensor(z)), y).item()
    slopes = np.empty_like(z)
    for at in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[at] = h
        slopes[at] = (cost(z + step) - cost(z - step)) / (2 * h)
    expected = np.sqrt((np.square(slopes * len(x)).sum(axis=1) / z.shape[1]).mean())
    assert abs(errors[1] / expected - 1) < 1e-4
    assert abs(weights[1] / np.linalg.norm(slopes.T @ a.numpy()) - 1) < 1e-4


@pytest.mark.parametrize("arguments, words", [
    (["--out", "picture.gif"], ".png"), (["--out", "/no/such/place/a.png"], "no directory"),
    (["--epochs", "0"], "epochs"), (["--seed", "-1"], "seed")])
def test_bad_options_stop_before_training(arguments, words):
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert result.exit_code == 2 and words in result.output and "epochs 0" not in result.output


def test_info_by_python_dash_m():
    run = subprocess.run([sys.executable, "-m", "microgradx", "info"], capture_output=True, text=True, check=True)
    assert [line.split("  ")[0] for line in run.stdout.splitlines()] == list(config.config())
    assert "threads" in run.stdout
