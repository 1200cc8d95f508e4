"""detect_nan: operation, line and operands of the first nan, forward and backward; nobody else is blamed."""
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, errors

F = mgx.nn.functional
CORE = Path(mgx.__file__).parent / "_core"
BIG = 3e38                                              # near the largest float32


def leaf(*numbers, dtype="float32"):
    return Tensor(list(numbers), requires_grad=True, dtype=dtype)


def caught(function, inf=False):
    """The message, of which the second line is to name a line of this file that says 'here'."""
    with pytest.raises(errors.NonFiniteError) as error, mgx.detect_nan(inf=inf):
        function()
    assert isinstance(error.value, FloatingPointError)
    return str(error.value)


def log(): return Tensor([1.0, -1.0, -2.0]).log()                                           # here
def difference(): return Tensor([np.inf, 1.0]) - Tensor([np.inf, 1.0])                      # here
def strided(): return Tensor([[np.inf, 1.0], [1.0, 1.0]]).T - Tensor([[np.inf, 1.0]] * 2)   # here
def in_place(): x = Tensor([np.inf, 1.0]); x -= Tensor([np.inf, 1.0])                       # here
def product(): return Tensor([[np.inf, 1.0]]) @ Tensor([[0.0], [1.0]])                      # here
def batch(): return Tensor(np.array([[[1.0]], [[np.inf]]])) @ Tensor(np.zeros((2, 1, 1)))   # here
def linear(): return F.linear(Tensor([[np.inf]]), Tensor([[0.0]]), Tensor([1.0]))           # here
def total(): return Tensor([np.inf, -np.inf]).sum()                                         # here
def softmax(): return Tensor([np.inf, 1.0]).softmax()                                       # here
def running(): return Tensor([np.inf, -np.inf]).cumsum(0)                                   # here
def cost(): return F.cross_entropy(Tensor([[np.inf, 1.0]]), mgx.tensor([1]))                    # here
def inner(): return F.mse_loss(Tensor([np.inf]), Tensor([np.inf]))                          # here
def images(): return F.conv2d(Tensor([[[[np.inf, -np.inf]]]]), Tensor([[[[1.0, 1.0]]]]))           # here
def pooled(): return F.avg_pool2d(Tensor([[[[np.inf, -np.inf]]]]), (1, 2))                  # here
def rows(): return F.layer_norm(Tensor([[np.inf, 1.0]]), (2,))                              # here
def attention(): return F.scaled_dot_product_attention(*[Tensor([[np.inf], [1.0]])] * 3)    # here


FORWARD = {log: "log: made 2 nan among the 3 numbers of shape (3,), float32", difference: "sub: made 1 nan",
           strided: "sub: made 1 nan and 1 inf among the 4", in_place: "sub: made 1 nan", product: "matmul: made 1 nan",
           batch: "matmul: made 1 nan among the 2 numbers of shape (2, 1, 1), float64", linear: "linear: made 1 nan",
           total: "sum: made 1 nan", softmax: "softmax: made 2 nan", running: "cumsum: made 1 nan",
           cost: "cross_entropy: made 1 nan", inner: "sub: made 1 nan",
           images: "conv2d: made 1 nan", pooled: "avg_pool: made 1 nan", rows: "norm: made 2 nan",
           attention: "softmax: made"}


@pytest.mark.parametrize("function", FORWARD, ids=lambda f: f.__name__)
def test_forward(function):
    message = caught(function)
    assert message.startswith(FORWARD[function])
    where = message.splitlines()[1]
    assert f"{Path(__file__).name}:{function.__code__.co_firstlineno}, in {function.__name__}: " in where
    assert where.endswith("# here")


def test_operands():
    message = caught(lambda: Tensor([1.0, np.inf, 5.0]) * Tensor([[0.0], [2.0]]))
    assert "operand 0: shape (3,), float32, from 1 to 5, 1 inf" in message
    assert "operand 1: shape (2, 1), float32, from 0 to 2, no nan or inf" in message
    assert "operand 1: the number 0.0" in caught(lambda: Tensor([np.inf]) * 0.0)


# ----- backward ------------------------------------------------------------------------------------------------------

def of_power():
    x = leaf(0.0)
    y = x ** 0.5                                                                            # here
    (2.0 * y).sum().backward()


def of_norm():
    x = leaf(BIG, BIG)
    y = x * BIG                                                                             # here
    (y * 1e-38).sum().backward(Tensor(10.0))


def of_matmul():
    x, w = Tensor([[0.0, 0.0]], requires_grad=True), Tensor([[1.0], [1.0]], requires_grad=True)
    y = x @ w                                                                               # here
    y.backward(Tensor([[np.inf]]))


def second():
    x = leaf(0.0)
    y = (x * x).sqrt()                                                                      # here
    mgx.autograd.grad(y.sum() * 0.0 + y, x, create_graph=True)


@pytest.mark.parametrize("function, words, inf", [
    (of_power, "backward of pow: made 1 inf", True), (of_norm, "mul: made 2 inf", True),
    (of_matmul, "backward of matmul: made 2 nan", False), (second, "backward of sqrt: made 1 inf", True)])
def test_backward(function, words, inf):
    message = caught(function, inf)
    assert message.startswith(words) and message.splitlines()[1].endswith("# here"), message


def test_backward_operands():
    message = caught(of_matmul)
    assert "incoming gradient: shape (1, 1), float32, 1 inf" in message
    assert "saved 0: shape (1, 2), float32, from 0 to 0, no nan or inf" in message


def test_graph_from_before():
    x = leaf(0.0)
    y = x ** 0.5
    assert "ran before detect_nan was on" in caught(lambda: y.sum().backward(), inf=True)


def test_sums_of_gradients():
    x = leaf(1.0)
    y = x * 1.0
    z = y * Tensor([BIG]) + y * Tensor([BIG])
    assert caught(lambda: z.sum().backward(), inf=True).startswith("add: made 1 inf")


def test_rows_added():
    x = Tensor([[1.0], [1.0]], requires_grad=True)
    assert caught(lambda: x[[0, 0]].sum().backward(Tensor(BIG)), inf=True).startswith("backward of index: made 1 inf")
    h = x * 1.0
    y = (h[0] * 1.0).sum() + h[[0, 1, 0]].sum()
    assert caught(lambda: y.backward(Tensor(BIG)), inf=True).split(":")[0] in ("index_add", "add", "backward of index")


def test_by_hand():
    @mgx.custom_vjp
    def f(x):
        return x * 1.0
    f.defvjp(lambda x: (x * 1.0, None), lambda _, g: (g.log() * 0.0,))                      # here
    message = caught(lambda: f(leaf(1.0)).backward(Tensor([-1.0])))
    assert message.startswith("log: made 1 nan") and message.splitlines()[1].endswith("# here")


def test_checkpoint():
    def f(x):
        return x ** 0.5                                                                     # here
    message = caught(lambda: mgx.checkpoint(f, leaf(0.0)).sum().backward(), inf=True)
    assert message.startswith("backward of pow: made 1 inf") and message.splitlines()[1].endswith("# here")


# ----- optimizers ----------------------------------------------------------------------------------------------------

def test_updates():
    w = leaf(1.0)
    w.grad = Tensor([0.0])
    assert caught(mgx.optim.Adam([w], eps=0.0).step).startswith("adam: made 1 nan")
    w = leaf(np.inf)
    w.grad = Tensor([np.inf])
    assert caught(mgx.optim.SGD([w], lr=1.0).step).startswith("sgd: made 1 nan")
    w = leaf(BIG)
    w.grad = Tensor([-BIG])
    assert caught(mgx.optim.SGD([w], lr=1.0).step, inf=True).startswith("sgd: made 1 inf")


# ----- who is not blamed ---------------------------------------------------------------------------------------------

def from_outside():
    nan = Tensor([np.nan, 1.0])
    x = Tensor([[np.nan, 1.0]] * 2, requires_grad=True)
    nan.log(), nan + 1.0, nan * nan.T, nan.sum(), nan.amax(), nan.softmax(), nan.cumsum(0), nan.astype("f8"), nan[0]
    (x @ x.T).sum().backward()
    F.linear(Tensor([[1.0]]), Tensor([[1.0]]), Tensor([np.nan]))
    F.cross_entropy(x, mgx.tensor([0, 1])).backward()
    y = leaf(np.nan, 2.0)
    (y.exp() + y.tanh() + y.sqrt() + y / y + y.maximum(y)).sum().backward()


def written():
    x = Tensor([1.0, 2.0])
    x.fill_(np.nan)
    x += 1.0
    x[0] = 1.0
    x[1] = np.nan
    x[0] = 2.0
    x *= np.nan
    x.copy_(Tensor([1.0, np.nan]))
    mgx.concat([x, x]), mgx.stack([x, x]), mgx.where(mgx.tensor([True, False]), x, 0.0), mgx.pad(x, (1, 1), np.nan)


def trained():
    w = leaf(np.nan, 1.0)
    for optimizer in mgx.optim.SGD([w], lr=1.0), mgx.optim.SGD([w], lr=1.0, momentum=0.9), mgx.optim.Adam([w]):
        for g in Tensor([1.0, 1.0]), Tensor([np.nan, 1.0]):
            w.grad = g
            optimizer.step()


def given_gradient():
    x = leaf(1.0, 2.0)
    (x * x).backward(Tensor([np.nan, 1.0]))
    mgx.autograd.grad(x * x, x, Tensor([np.nan, 1.0]))


def masked_slope():
    """The derivative is inf where the gradient is 0, and nan in a branch of its text that is not taken."""
    x = leaf(0.0, 4.0)
    mgx.where(mgx.tensor([False, True]), x.sqrt(), 0.0).sum().backward()
    a, b = leaf(0.0), leaf(2.0)
    mgx.autograd.grad((a ** b).sum(), [a, b], create_graph=True)


@pytest.mark.parametrize("inf", [False, True])
@pytest.mark.parametrize("function", [from_outside, written, trained, given_gradient, masked_slope],
                         ids=lambda f: f.__name__)
def test_not_blamed(function, inf):
    if function is not masked_slope:
        function()
    with mgx.detect_nan(inf=inf):
        function()


def test_inf_is_asked_for():
    with mgx.detect_nan():
        Tensor([0.0]).log()
        (leaf(0.0) ** 0.5).sum().backward()
    assert caught(lambda: Tensor([0.0]).log(), inf=True).startswith("log: made 1 inf")


# ----- switching -----------------------------------------------------------------------------------------------------

def quiet():
    assert np.isnan(Tensor([-1.0]).log().item())


def test_switching():
    quiet()
    with mgx.detect_nan():
        with mgx.detect_nan(inf=True):
            with pytest.raises(errors.NonFiniteError):
                Tensor([0.0]).log()
        Tensor([0.0]).log()
        with pytest.raises(errors.NonFiniteError):
            quiet()
    quiet()

    @mgx.detect_nan(inf=True)
    def decorated(depth):
        return decorated(depth - 1) if depth else Tensor([0.0]).log()
    for _ in range(2):
        with pytest.raises(errors.NonFiniteError):
            decorated(2)
        quiet()
    assert decorated.__name__ == "decorated"


def test_the_engine_goes_on_after_an_error():
    x = leaf(0.0, 4.0)
    caught(lambda: (x ** 0.5).sum().backward(), inf=True)
    x.grad = None
    (x ** 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 8.0])
    quiet()


def test_other_threads():
    raised = []

    def run():
        try:
            log()
        except errors.NonFiniteError as error:
            raised.append(error)
    with mgx.detect_nan():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(raised) == 1


# ----- the kernel and the door ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_place_is_seen(dtype):
    for n in [*range(1, 70), 1000]:
        for at in {0, n // 2, n - 1}:
            over, under = np.full(n, np.finfo(dtype).max, dtype), np.ones(n, dtype)
            with mgx.detect_nan(inf=True):
                Tensor(over).neg()
            under[at] = 0
            for top in 1.0, -1.0, 0.0:
                over[at] = top
                with pytest.raises(errors.NonFiniteError), mgx.detect_nan(inf=bool(top)):
                    Tensor(over) / Tensor(under)


def test_whoever_runs_a_kernel_tells_detect_nan():
    """Kernels run in few functions of the door; each that an eager call reaches looks at what was written."""
    text = (CORE / "launch.pyx").read_text()
    functions = re.findall(r"^(?:cdef [\w ]+?|def) (\w+)\((.*?)(?=^cdef|^def|\Z)", text, re.M | re.S)
    runs = re.compile(r"\brun_(short_kernel|kernel|loop|tiles|elementwise)\(|\bfunction\(\*|^ +loop\(size, ", re.M)
    runners = {name: body for name, body in functions if runs.search(body)}
    parts = {"run_launch", "run_held", "run_held_elementwise", "run_elementwise", "strided", "with_numbers"}
    assert runners.keys() == {"launch", "elementwise", "host", "compute_on_host"} | parts
    assert all(re.search(r"\bcheck_\w+_results?\(", body)
               for name, body in runners.items() if name not in parts)
    others = [path for path in CORE.rglob("*.pyx") if path.name not in ("launch.pyx", "kernels.pyx")]
    assert not [path.name for path in others if re.search(r"\brun_(kernel|loop|tiles)\(", path.read_text())]
