"""Transforms of functions and derivatives by hand: closed forms, identities between them, what they refuse."""
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microgradx as mgx
from microgradx import Tensor, errors
from microgradx._core import sequences
from microgradx.transforms import __all__ as TRANSFORMS

RNG = np.random.default_rng(11)
A = RNG.standard_normal((3, 4))


def close(x, y, rtol=1e-12):
    np.testing.assert_allclose(x.numpy() if isinstance(x, Tensor) else x, y.numpy() if isinstance(y, Tensor) else y,
                               rtol=rtol, atol=1e-13)


def mixed(x):
    """(n,) -> (n,), with products, sums, powers, an exponential and a matrix."""
    return (x.outer(x) @ x.sin()) * (0.3 * x).exp() + x ** 3 / (1.0 + x * x)


def scalar(x):
    return (mixed(x) * x.cos()).sum()


vectors = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.lists(
    st.floats(-2, 2), min_size=n, max_size=n).map(lambda v: Tensor(np.array(v))) for _ in range(3)]))


# ----- closed forms --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3,), (2, 3)])
def test_closed_forms(shape, dtype):
    x = RNG.uniform(0.5, 1.5, shape).astype(dtype)
    v = RNG.standard_normal(shape).astype(dtype)
    X, V = Tensor(x), Tensor(v)
    rtol = 1e-5 if dtype == "float32" else 1e-13
    cubes = lambda x: (x ** 3).sum()
    for got, truth in [(mgx.grad(cubes)(X), 3 * x ** 2), (mgx.hvp(cubes, (X,), (V,))[0], 6 * x * v),
                       (mgx.jvp(lambda x: x ** 3, (X,), (V,))[1], 3 * x ** 2 * v),
                       (mgx.vjp(lambda x: x ** 3, X)[1](V)[0], 3 * x ** 2 * v),
                       (mgx.hessian(cubes)(X), np.diag(6 * x.ravel()).reshape(shape + shape)),
                       (mgx.jacobian(lambda x: x ** 3)(X), np.diag(3 * x.ravel() ** 2).reshape(shape + shape)),
                       (mgx.jacobian(lambda x: x ** 3, mode="forward")(X),
                        np.diag(3 * x.ravel() ** 2).reshape(shape + shape))]:
        assert got.dtype == dtype and got.shape == truth.shape and not got.requires_grad
        close(got, truth, rtol)


def test_not_contiguous():
    x = Tensor(A).T[::2]
    close(mgx.grad(lambda x: (x * x).sum())(x), 2 * A.T[::2])
    close(mgx.jvp(lambda x: x * x, (x,), (x,))[1], 2 * A.T[::2] ** 2)


def test_every_order():
    f, truth = lambda x: x ** 5, [5, 20, 60, 120, 120, 0]
    for power, factor in zip([4, 3, 2, 1, 0, 0], truth):
        f = mgx.grad(f)
        close(f(1.5), factor * 1.5 ** power, 1e-6)


# ----- identities ----------------------------------------------------------------------------------------------------

@settings(max_examples=30, deadline=None)
@given(vectors)
def test_identities(drawn):
    x, v, w = drawn
    J = mgx.jacobian(mixed)(x)
    value, pullback = mgx.vjp(mixed, x)
    close(mgx.jacobian(mixed, mode="forward")(x), J, 1e-9)
    close(value, mixed(x))
    close(pullback(w)[0], w @ J, 1e-9)
    close(mgx.jvp(mixed, (x,), (v,))[1], J @ v, 1e-9)
    H = mgx.hessian(scalar)(x)
    close(H, H.T, 1e-8)
    close(mgx.jacobian(mgx.grad(scalar), mode="forward")(x), H, 1e-8)
    close(mgx.hvp(scalar, (x,), (v,))[0], H @ v, 1e-8)
    close(mgx.jvp(mgx.grad(scalar), (x,), (v,))[1], H @ v, 1e-8)
    close(mgx.grad(lambda x: mgx.jvp(scalar, (x,), (v,))[1])(x), H @ v, 1e-8)
    close(mgx.grad(lambda x: (mgx.vjp(mixed, x)[1](w)[0] * v).sum())(x),
          mgx.grad(lambda x: (mgx.jvp(mixed, (x,), (v,))[1] * w).sum())(x), 1e-8)


def test_third_order_of_vectors():
    x, v = Tensor(A[0]), Tensor(A[1])
    third = mgx.jacobian(mgx.hessian(lambda x: (x ** 4).sum()))(x)
    close(third, np.einsum("i,ij,ik->ijk", 24 * A[0], np.eye(4), np.eye(4)))
    close(mgx.jvp(mgx.hessian(lambda x: (x ** 4).sum()), (x,), (v,))[1], np.asarray(third) @ A[1])


def test_each_level_is_its_own():
    """The inner derivative is by y alone, though x has the same number."""
    close(mgx.grad(lambda x: x * mgx.grad(lambda y: x + y)(1.0))(1.0), 1.0)
    close(mgx.grad(lambda x: x * mgx.jvp(lambda y: x * y, (1.0,), (1.0,))[1])(3.0), 6.0)
    x = Tensor(2.0, requires_grad=True)
    close(mgx.grad(lambda y: x * y)(x), 2.0)


# ----- containers and options ----------------------------------------------------------------------------------------

def test_containers():
    net = {"layers": [(Tensor(A), Tensor(A[:, 0]))], "scale": 2.0}
    cost = lambda net, x: net["scale"] * sum(((w @ x + b) ** 2).sum() for w, b in net["layers"])
    x = Tensor(A[1])
    g, gx = mgx.grad(cost, (0, 1))(net, x)
    r = A @ A[1] + A[:, 0]
    assert g.keys() == net.keys() and isinstance(g["layers"][0], tuple)
    close(g["layers"][0][0], 4 * np.outer(r, A[1]))
    close(g["layers"][0][1], 4 * r)
    close(g["scale"], r @ r, 1e-6)
    close(gx, 4 * A.T @ r)
    J = mgx.jacobian(lambda t: {"y": t[0] * t[1], "z": t[0].sum()})((Tensor(A[0]), Tensor(A[1])))
    close(J["y"][0], np.diag(A[1]))
    close(J["z"][0], np.ones(4))
    close(J["z"][1], np.zeros(4))
    assert net["layers"][0][0].grad is None


def test_modules():
    layer = mgx.nn.Linear(4, 2)
    x = Tensor(A[0].astype("f4"))
    g = mgx.autograd.grad(layer(x).sum(), list(layer.parameters()))
    close(g[0], np.tile(A[0], (2, 1)), 1e-6)
    gx = mgx.grad(lambda x: layer(x).sum())(x)                      # parameters want a gradient: so does gx
    close(gx, layer.weight.numpy().sum(0), 1e-6)
    gx.sum().backward()
    close(layer.weight.grad, np.ones((2, 4)))


def test_aux_and_argnums():
    f = lambda x, y: ((x * y).sum(), {"y": y, "twice": 2.0 * x})
    (value, aux), g = mgx.value_and_grad(f, 1, has_aux=True)(Tensor(A), Tensor(2 * A))
    close(value, 2 * (A * A).sum())
    close(g, A)
    close(aux["twice"], 2 * A)
    assert not aux["y"].requires_grad
    g, aux = mgx.grad(f, (-2, -1), has_aux=True)(Tensor(A), Tensor(2 * A))
    close(g[0], 2 * A)
    assert mgx.vjp(f, Tensor(A), Tensor(A), has_aux=True)[2].keys() == aux.keys()


def test_unused_arguments_have_zeros():
    close(mgx.grad(lambda x, y: (x * x).sum(), 1)(Tensor(A), Tensor(A)), np.zeros_like(A))
    close(mgx.grad(lambda x: Tensor(1.0))(Tensor(A)), np.zeros_like(A))
    close(mgx.jvp(lambda x: Tensor(A), (1.0,), (1.0,))[1], np.zeros_like(A))
    close(mgx.jacobian(lambda x: Tensor(A), mode="forward")(Tensor([1.0])), np.zeros((3, 4, 1)))


# ----- side effects --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", TRANSFORMS)
def test_nobodys_grad_changes(name):
    """Every transform, in both modes of recording, beside leaves that have gradients."""
    x, w = Tensor([1.5], dtype="float64", requires_grad=True), Tensor([2.0], dtype="float64", requires_grad=True)
    f = lambda x: (w * x ** 3).sum()
    calls = {"grad": lambda: mgx.grad(f)(x), "value_and_grad": lambda: mgx.value_and_grad(f)(x)[1],
             "vjp": lambda: mgx.vjp(f, x)[1](1.0)[0], "jvp": lambda: mgx.jvp(f, (x,), (x,))[1],
             "jacobian": lambda: mgx.jacobian(f)(x), "hessian": lambda: mgx.hessian(f)(x),
             "hvp": lambda: mgx.hvp(f, (x,), (x,))[0], "vmap": lambda: mgx.vmap(f)(x)}
    recorded = calls[name]()
    assert x.grad is None and w.grad is None and recorded.requires_grad and mgx.is_grad_enabled()
    with mgx.no_grad():
        bare = calls[name]()
        assert not bare.requires_grad and not mgx.is_grad_enabled()
    close(recorded.detach(), bare)
    recorded.sum().backward()
    close(w.grad * w, bare.reshape(-1))                             # all are linear in w
    assert x.grad is not None


def test_graphs_of_others_stay():
    x = Tensor(A, requires_grad=True)
    h = x.sin()
    close(mgx.grad(lambda y: (h * y).sum())(Tensor(A)).detach(), np.sin(A))
    h.sum().backward()
    close(x.grad, np.cos(A))


def test_retain_grad_and_hooks():
    x, seen = Tensor([2.0], requires_grad=True), []
    h = x * 3.0
    h.retain_grad()
    h.register_hook(lambda g: seen.append(g.item()))
    assert mgx.autograd.grad((h * h).sum(), x)[0].item() == 36.0
    assert h.grad is None and seen == [12.0]


def test_nothing_is_kept():
    held = []

    class Watched(np.ndarray):
        pass

    def f(x):
        array = A.view(Watched).copy()
        held.append(weakref.ref(array))
        return (x * mgx.from_numpy(array)).sum()
    mgx.grad(mgx.grad(lambda x: f(x) * f(x).sin()))(1.0)
    assert held and not any(ref() is not None for ref in held)


# ----- autograd.grad -------------------------------------------------------------------------------------------------

def test_grad_of_results():
    x, y = (Tensor(a, requires_grad=True) for a in (A[0], A[1]))
    h = x * y
    z = h.sin()
    gx, gh = mgx.autograd.grad([z, h], [x, h], [Tensor(A[2]), Tensor(A[2])], retain_graph=True)
    close(gh, A[2] * np.cos(A[0] * A[1]) + A[2])
    close(gx, gh * Tensor(A[1]))
    other = Tensor(1.0, requires_grad=True)
    assert mgx.autograd.grad(z.sum(), other, retain_graph=True, allow_unused=True) == (None,)
    first, = mgx.autograd.grad(z.sum(), x, create_graph=True)
    second, = mgx.autograd.grad(first.sum(), x)
    close(second, -np.sin(A[0] * A[1]) * A[1] ** 2)
    assert x.grad is None and y.grad is None


def test_results_are_nobody_elses():
    x = Tensor(A, requires_grad=True)
    g = Tensor(A)
    a, b = mgx.autograd.grad([x + 0.0, x.sum()], [x, x], [g, None])
    a += 1.0
    close(b, A + 1.0)
    close(g, A)
    x.sum()
    c, = mgx.autograd.grad(x.sum(), x)
    c += 1.0                                                        # not a broadcast view
    close(c, np.full_like(A, 2))


# ----- derivatives by hand -------------------------------------------------------------------------------------------

class Product(mgx.autograd.Function):
    """Two results of two arguments and a number."""

    @staticmethod
    def forward(ctx, x, y, power):
        ctx.power = power
        ctx.save_for_backward(x, y)
        return x * y, x ** power

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g * y + h * ctx.power * x ** (ctx.power - 1), g * x, None


@mgx.custom_vjp
def log1pexp(x):
    return x.exp().log1p()


log1pexp.defvjp(lambda x: (x.exp().log1p(), x), lambda x, g: (g * x.sigmoid(),))


def test_by_hand():
    x, y = (Tensor(a, requires_grad=True) for a in (A + 3.0, A))
    assert mgx.gradcheck(lambda x, y: Product.apply(x, y, 3), (x, y))
    assert mgx.gradgradcheck(lambda x, y: Product.apply(x, y, 3), (x, y))
    assert mgx.gradcheck(log1pexp, x) and mgx.gradgradcheck(log1pexp, x)
    close(mgx.hessian(lambda x: log1pexp(x).sum())(x[0].detach()), np.diag(
        1 / (2 + 2 * np.cosh(A[0] + 3))), 1e-10)
    close(mgx.grad(log1pexp)(100.0), 1.0)                           # JAX's documented example: nan without it
    u, v = Product.apply(x, y, 2)
    (u.sum() + v.sum()).backward()
    close(x.grad, A + 2 * (A + 3))
    z, _ = Product.apply(x.detach(), y.detach(), 2)
    assert not z.requires_grad


def test_backward_runs_once():
    calls = []

    class Twice(mgx.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            calls.append(g.shape)
            return g, 2.0 * g
    x, y = (Tensor(A, requires_grad=True) for _ in range(2))
    Twice.apply(x, y).sum().backward()
    close(y.grad, 2 * np.ones_like(A))
    assert calls == [(3, 4)]


# ----- checkpoint ----------------------------------------------------------------------------------------------------

def test_checkpoint():
    layers = [mgx.nn.Linear(4, 4) for _ in range(3)]
    data = Tensor(A.astype("f4"), requires_grad=True)
    wanted = [data, *(p for layer in layers for p in layer.parameters())]

    def net(x, around):
        for layer in layers:
            x = around(lambda x, layer=layer: layer(x).tanh(), x)
        return (x * x).sum()
    plain = mgx.autograd.grad(net(data, lambda f, x: f(x)), wanted)
    for again in (mgx.autograd.grad(net(data, mgx.checkpoint), wanted),
                  mgx.autograd.grad(net(data, lambda f, x: mgx.checkpoint(mgx.checkpoint, f, x)), wanted)):
        for a, b in zip(plain, again, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    v = Tensor(A.astype("f4"))
    close(mgx.hvp(lambda x: net(x, mgx.checkpoint), (data.detach(),), (v,))[0].detach(),
          mgx.hvp(lambda x: net(x, lambda f, x: f(x)), (data.detach(),), (v,))[0].detach(), 1e-4)


def test_checkpoint_draws_the_same_numbers():
    def noisy(x):
        drawn.append(mgx.randn(4))
        return x * drawn[-1]
    drawn = []
    mgx.manual_seed(3)
    g = mgx.grad(lambda x: mgx.checkpoint(noisy, x).sum())(Tensor(A[0]))
    after = mgx.rand(1).item()
    assert len(drawn) == 2
    np.testing.assert_array_equal(*[d.numpy() for d in drawn])
    close(g, drawn[0])
    mgx.manual_seed(3)
    mgx.randn(4)
    assert mgx.rand(1).item() == after                              # as if it had run once


def test_checkpoint_keeps_less():
    runs = []

    def f(x):
        runs.append(1)
        return x.sin(), x.cos()
    with mgx.no_grad():
        mgx.checkpoint(f, Tensor(A))
    x = Tensor(A, requires_grad=True)
    a, b = mgx.checkpoint(f, x)
    assert len(runs) == 2
    (a * b).sum().backward()
    assert len(runs) == 3
    close(x.grad, np.cos(2 * A))
    assert mgx.gradgradcheck(lambda x: mgx.checkpoint(f, x), x)


# ----- gradcheck -----------------------------------------------------------------------------------------------------

class Wrong(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 2.0 * x + g * Tensor(np.arange(x.size) == 1)


def test_gradcheck_finds_the_entry():
    x, y = (Tensor(A[0], requires_grad=True) for _ in range(2))
    assert mgx.gradcheck(lambda x, y: (x * y, x.sum()), (x, y)) is True
    with pytest.raises(errors.GradcheckError, match=r"output 1 \(1,\) for input 0 \(1,\): the gradient is "
                       rf"{2 * A[0, 1] + 1:.3f}.*central differences give {2 * A[0, 1]:.3f}.*1 of 16 entries"):
        mgx.gradcheck(lambda x, y: (x * y, Wrong.apply(x)), (x, y))
    assert mgx.gradcheck(Wrong.apply, x, raise_exception=False) is False
    assert mgx.gradcheck(Wrong.apply, x, atol=2.0) is True

    @mgx.custom_vjp
    def first_order_only(x):
        return x ** 3
    first_order_only.defvjp(lambda x: (x ** 3, 3.0 * x.detach() ** 2), lambda d, g: (g * d,))
    assert mgx.gradcheck(first_order_only, x)
    with pytest.raises(errors.GradcheckError, match="output 0 .* for input 0"):
        mgx.gradgradcheck(first_order_only, x)


# ----- what is refused -----------------------------------------------------------------------------------------------

x4 = Tensor(A[0])
square = lambda x: (x * x).sum()
REFUSED = {
    "vector": (lambda: mgx.grad(lambda x: x)(x4), ValueError, r"grad: .*single number, not shape \(4,\)"),
    "not a tensor": (lambda: mgx.grad(lambda x: 1)(x4), TypeError, "grad: what the function returns .*not 1"),
    "integers": (lambda: mgx.grad(square)(mgx.tensor([1])), TypeError,
                 "grad: an argument is a float Tensor, not int64"),
    "int": (lambda: mgx.grad(square)(1), TypeError, "grad: .*not 1"),
    "Value": (lambda: mgx.grad(lambda v: v * v)(mgx.Value(1.0)), TypeError, "Value, which has first derivatives only"),
    "Value result": (lambda: mgx.vjp(lambda x: mgx.Value(1.0), x4), TypeError, "vjp: .*Value"),
    "argnums": (lambda: mgx.grad(square, 1)(x4), ValueError, r"grad: argnums \(1,\) of a call with 1"),
    "argnums kind": (lambda: mgx.grad(square, "x"), ValueError, "grad: argnums is an int"),
    "aux": (lambda: mgx.grad(square, has_aux=True)(x4), TypeError, "has_aux"),
    "mode": (lambda: mgx.jacobian(square, mode="both"), ValueError, "'reverse' or 'forward', not 'both'"),
    "cotangent": (lambda: mgx.vjp(square, x4)[1](x4), ValueError, r"cotangent of shape \(4,\) for .*\(\)"),
    "tangents": (lambda: mgx.jvp(square, (x4,), (x4, x4)), ValueError, "2 tangents for 1"),
    "write": (lambda: mgx.grad(lambda x: x.zero_().sum())(x4), RuntimeError, "fill_|setitem: .*argument of a function"),
    "unused": (lambda: mgx.autograd.grad(square(leaf()), leaf()), RuntimeError, "input 0 was not used.*allow_unused"),
    "no leaf": (lambda: mgx.autograd.grad(square(leaf()), x4), RuntimeError, "input 0 does not require.*requires_grad"),
    "no graph": (lambda: mgx.autograd.grad(square(x4), leaf()), RuntimeError, "grad: .*no graph.*requires_grad=True"),
    "grad_outputs": (lambda: mgx.autograd.grad(leaf(), leaf(), [x4, x4]), ValueError, "2 grad_outputs for 1"),
    "no derivative": (lambda: mgx.custom_vjp(square)(x4), ValueError, "call <lambda>.defvjp"),
    "float32": (lambda: mgx.gradcheck(square, Tensor([1.0], requires_grad=True)), TypeError, "input 0 is of float32"),
    "nothing to check": (lambda: mgx.gradcheck(square, x4), RuntimeError, "no input requires")}


def leaf():
    return Tensor(A[0], requires_grad=True)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words) as caught:
        call()
    assert isinstance(caught.value, errors.Error) and mgx.is_grad_enabled()
    close(x4, A[0])


@pytest.mark.parametrize("gradients, words", [((None,), "1 gradients for 2"), ((x4, 1.0), "gradient of 1.0 for"),
                                              ((Tensor([1.0]), None), r"shape \(1,\) for an argument of shape \(4,\)")])
def test_wrong_gradients_by_hand(gradients, words):
    @mgx.custom_vjp
    def add(x, y):
        return x + y
    add.defvjp(lambda x, y: (x + y, None), lambda _, g: gradients)
    with pytest.raises(errors.ShapeError, match=f"add: backward returned .*{words}"):
        add(leaf(), leaf()).sum().backward()


# ----- messages say what to do ---------------------------------------------------------------------------------------

def frozen():
    x = leaf()
    y = square(x.detach())
    y.backward()


def twice():
    y = square(leaf())
    y.backward()
    y.backward()


def second_without_graph():
    x = leaf()
    square(x).backward()
    x.grad.sum().backward()


def overwritten():
    y = leaf() * 1.0
    z = (y * y).sum()
    y += 1.0
    z.backward()


def saved_by_hand():
    x, y = leaf() * 1.0, leaf()
    z = Product.apply(x, y, 2)[0]
    x += 1.0
    z.sum().backward()


def leaf_written():
    x = leaf()
    x += 1.0


def freed_behind():
    h = leaf() * 2.0
    y = square(h)
    y.backward()
    mgx.autograd.grad(y, h)


MESSAGES = {frozen: "detached.*no_grad.*requires_grad=True on the leaves", twice: "freed.*retain_graph=True",
            second_without_graph: "create_graph=True", overwritten: r"mul needs operand [01].*clone\(\).*y = y \+ 1",
            saved_by_hand: r"saved tensor 0 .*clone\(\)", leaf_written: r"no_grad\(\).*clone\(\)",
            freed_behind: "freed.*retain_graph=True"}


@pytest.mark.parametrize("mistake", MESSAGES, ids=lambda f: f.__name__)
def test_mistakes_say_what_to_do(mistake):
    with pytest.raises(errors.GraphError, match=MESSAGES[mistake]):
        mistake()


# ----- gradients of all operands that are worked out together --------------------------------------------------------

class Times(mgx.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, g * x


def cells_of(x, w):
    """The steps of a recurrent layer, as its kernel has them: five of two sequences."""
    return sequences.recurrence(sequences.cells["tanh"], x.reshape(10, 3), w[:9].reshape(3, 3), w[9:12],
                                w[12:18].reshape(1, 2, 3), mgx.tensor([2] * 5), (2,) * 5, False)


@mgx.custom_vjp
def custom_product(x, w):
    return x * w


custom_product.defvjp(lambda x, w: (x * w, (x, w)), lambda kept, g: (g * kept[1], g * kept[0]))

AT_ONCE = {"Function": Times.apply, "custom_vjp": custom_product, "compiled": mgx.compile(lambda x, w: x * w * x),
           "recurrence": cells_of,
           "attention": lambda x, w: sequences.attention(x.reshape(1, 10, 3), w.reshape(1, 10, 3), x.reshape(1, 10, 3),
                                                         None, 1, True, 0.5)}


@pytest.mark.parametrize("operation", AT_ONCE)
@pytest.mark.parametrize("wanted", [0, 1])
def test_a_gradient_that_was_written_to_is_another_one(operation, wanted):
    """A pass asks for one of the operands' gradients and leaves the node; the next one begins with the same array."""
    rng = np.random.default_rng(3)
    x, w = (mgx.tensor(rng.normal(size=30), requires_grad=True) for _ in range(2))
    for _ in range(3):                              # the third call of the compiled one is a replay
        y = AT_ONCE[operation](x, w)
        g = mgx.tensor(rng.normal(size=y.shape))
        first = grad_of(y, (x, w)[wanted], g)
        g *= 2
        np.testing.assert_array_equal(grad_of(y, (x, w)[wanted], g), 2 * first)
        np.testing.assert_array_equal(grad_of(y, (x, w)[1 - wanted], g),
                                      grad_of(AT_ONCE[operation](x, w), (x, w)[1 - wanted], g.clone()))


def grad_of(y, x, g):
    (found,) = mgx.autograd.grad(y, [x], grad_outputs=g, retain_graph=True)
    return found.numpy().copy()


def test_a_pass_that_fails_leaves_no_gradients_behind():
    numbers = [float("nan"), 1.0]                   # of the second gradient, in the first pass and in the second

    class Careless(Times):
        @staticmethod
        def backward(ctx, g):
            return g, mgx.full(2, numbers.pop(0))
    x, w = (mgx.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    y, g = Careless.apply(x, w), mgx.ones(2)
    with mgx.autograd.detect_nan(), pytest.raises(errors.NonFiniteError):
        y.backward(g, retain_graph=True)
    x.grad = None
    g *= 3
    y.backward(g)
    assert x.grad.tolist() == [3, 3] and w.grad.tolist() == [1, 1]
