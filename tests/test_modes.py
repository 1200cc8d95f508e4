"""Modes: no_grad, detect_nan, profile and the rest end where they began, whatever other threads and contexts do."""
import copy
import pickle
import threading

import numpy as np
import pytest

import microgradx as mgx
from microgradx import Tensor, Value, errors, flow, nn

WAIT = 20                               # seconds after which a thread that hangs is a failure


def overlap(enter_first, enter_second):
    """Two threads, each within its context: the first begins first and ends first."""
    begun, ended = threading.Event(), threading.Event()

    def first():
        with enter_first():
            begun.set()
            assert second_is_in.wait(WAIT)
        ended.set()
    second_is_in = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(WAIT)
    with enter_second():
        second_is_in.set()
        assert ended.wait(WAIT)
        thread.join()
        yield
    yield


def log():
    return Tensor([-1.0]).log()


def test_detect_nan_ends_when_the_last_thread_has_left():
    steps = overlap(mgx.detect_nan, mgx.detect_nan)
    next(steps)
    with pytest.raises(errors.NonFiniteError):
        log()
    next(steps)
    assert np.isnan(log().item())


def test_detect_nan_looks_for_all_that_is_asked_for():
    steps = overlap(lambda: mgx.detect_nan(inf=True), mgx.detect_nan)
    next(steps)
    assert np.isinf(Tensor([0.0]).log().item())             # the thread that asks for inf has left
    with pytest.raises(errors.NonFiniteError):
        log()
    next(steps)
    assert np.isnan(log().item())


def test_one_detect_nan_in_two_threads():
    one = mgx.detect_nan()
    for _ in overlap(lambda: one, lambda: one):
        pass
    assert np.isnan(log().item())


def test_a_derivative_at_work_hides_no_other_thread():
    """A custom derivative waits in its thread; meanwhile a nan of this one is found, and named by its own line."""
    inside, leave = threading.Event(), threading.Event()

    @mgx.custom_vjp
    def slow(x):
        return x.clone()

    def backward(_, g):
        inside.set()
        assert leave.wait(WAIT)
        return (g * 2,)
    slow.defvjp(lambda x: (x.clone(), None), backward)
    x = Tensor([1.0], requires_grad=True)
    with mgx.detect_nan():
        thread = threading.Thread(target=slow(x).sum().backward)
        thread.start()
        assert inside.wait(WAIT)
        try:
            with pytest.raises(errors.NonFiniteError, match=r"in log: return Tensor\(\[-1.0\]\).log"):
                log()
        finally:
            leave.set()
            thread.join()
    assert x.grad.item() == 2


@pytest.mark.parametrize("context", [mgx.no_grad, mgx.enable_grad])
def test_one_grad_mode_in_two_threads(context):
    """Each thread gets back its own mode."""
    one, found = context(), []
    begun, go_on = threading.Event(), threading.Event()

    def other():
        mode = mgx.enable_grad() if context is mgx.no_grad else mgx.no_grad()
        with mode:
            before = mgx.is_grad_enabled()
            with one:
                begun.set()
                assert go_on.wait(WAIT)
            found.append(mgx.is_grad_enabled() == before)
    with mgx.no_grad() if context is mgx.no_grad else mgx.enable_grad():
        before = mgx.is_grad_enabled()
        thread = threading.Thread(target=other)
        thread.start()
        assert begun.wait(WAIT)
        with one:
            go_on.set()
            thread.join()
        found.append(mgx.is_grad_enabled() == before)
    assert found == [True, True]


def test_a_grad_mode_that_cannot_be_entered_changes_nothing():
    mode = mgx.no_grad()
    mode.entered = mode.before = ()                         # it cannot note what was
    with pytest.raises(AttributeError), mode:
        pass
    assert mgx.is_grad_enabled()
    with pytest.raises(RuntimeError, match="not entered"):
        mgx.no_grad().__exit__(None, None, None)
    assert mgx.is_grad_enabled()


def test_profiles_that_end_in_the_order_in_which_they_began():
    first, second, third = mgx.profile(), mgx.profile(), mgx.profile()
    first.__enter__()
    second.__enter__()
    third.__enter__()
    first.__exit__()
    third.__exit__()
    Tensor([1.0]).exp()
    second.__exit__()
    Tensor([1.0]).log()
    assert [event.operation for event in second.events] == ["exp"]
    assert not first.events and not third.events
    with mgx.profile() as after:
        Tensor([1.0]).tanh()
    assert [event.operation for event in after.events] == ["tanh"]
    assert mgx.compile(lambda x: x * 2)(Tensor([1.0])).item() == 2


def test_one_profile_in_two_threads():
    one = mgx.profile()
    for _ in overlap(lambda: one, lambda: one):
        Tensor([1.0]).exp()
    assert [event.operation for event in one.events] == ["exp"]


def test_a_trace_and_a_recording_of_two_threads():
    """A function of Values is traced, and meanwhile another is recorded; when both are over, neither is on."""
    inside, other_inside, over, end = (threading.Event() for _ in range(4))
    found = []

    def traced(x):
        inside.set()
        assert other_inside.wait(WAIT)
        return x * 2

    def trace():
        found.append(np.asarray(mgx.vectorize(traced)(np.array([1.0, 2.0]))).tolist())
        over.set()
        assert end.wait(WAIT)
        found.append(Value(1.0).data)                       # an error while a trace is on

    def recorded(x):
        other_inside.set()
        assert over.wait(WAIT)
        return x * x
    thread = threading.Thread(target=trace)
    thread.start()
    assert inside.wait(WAIT)
    found.append(mgx.compile(recorded)(Value(3.0)).data)
    end.set()
    thread.join()
    assert found == [[2.0, 4.0], 9.0, 1.0]


def test_a_watch_is_entered_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    watch = flow.watch(net)
    with watch:
        with pytest.raises(errors.OptionError, match="watch: .* on already"), watch:
            pass
        assert net[0]._hooks["after"]
    assert not any(net[0]._hooks["after"]) and not any(net._hooks["after"])


def test_a_watch_that_cannot_be_entered_leaves_no_hook():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    watch = flow.watch(net)

    def refuse(hook):
        raise ValueError("no more hooks")
    net.register_forward_hook = refuse
    with pytest.raises(ValueError, match="no more"), watch:
        pass
    assert not any((net[0]._hooks or {"after": ()})["after"])
    assert not (net[1]._hooks or {"after": ()})["after"]


@pytest.mark.parametrize("mode, inside", [(mgx.no_grad, False), (mgx.enable_grad, True)])
def test_generator_functions_that_are_decorated(mode, inside):
    """Each step of the body runs in the mode, and what is between the steps does not."""
    closed = []

    @mode()
    def steps():
        try:
            got = yield mgx.is_grad_enabled()
            try:
                yield mgx.is_grad_enabled(), got
            except KeyError:
                yield mgx.is_grad_enabled()
            return "end"
        finally:
            closed.append(mgx.is_grad_enabled())
    outer = mgx.enable_grad if mode is mgx.no_grad else mgx.no_grad
    with outer():
        running = steps()
        assert next(running) is inside and mgx.is_grad_enabled() is not inside
        assert running.send(3) == (inside, 3) and running.throw(KeyError) is inside
        with pytest.raises(StopIteration, match="end"):
            next(running)
        other = steps()
        next(other)
        other.close()
        assert closed == [inside, inside] and mgx.is_grad_enabled() is not inside


def test_modes_decorate_functions_alone():
    assert mgx.no_grad(lambda: mgx.is_grad_enabled())() is False        # as torch's, without a call

    async def later():
        pass
    for mode in (mgx.no_grad(), mgx.detect_nan()):
        for what in (later, int):
            with pytest.raises(errors.DTypeError, match=r"decorates functions, not .* inside"):
                mode(what)

    @mgx.detect_nan()
    def steps():
        yield mgx.Tensor([1.0]).log()
        yield mgx.Tensor([-1.0]).log()
    running = steps()
    next(running)
    mgx.Tensor([-1.0]).log()
    with pytest.raises(errors.NonFiniteError):
        next(running)


@pytest.mark.parametrize("make", [mgx.no_grad, mgx.enable_grad, mgx.profile])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda mode: pickle.loads(pickle.dumps(mode))])
def test_a_copy_of_a_mode_has_not_been_entered(make, again):
    mode = make()
    with mode:
        twin = again(mode)
        with pytest.raises(RuntimeError, match="has not entered"):
            twin.__exit__(None, None, None)
        with twin:
            pass


def test_anomalies_are_looked_for_until_it_is_switched_off():
    """However often it is switched on, as in torch; as a context manager it restores."""
    def finds():
        try:
            Tensor([-1.0]).log()
        except mgx.errors.NonFiniteError:
            return True
        return False
    off, on = lambda: mgx.autograd.set_detect_anomaly(False), lambda: mgx.autograd.set_detect_anomaly(True)
    try:
        on(), on()
        assert finds()
        with off():
            assert not finds()
        assert finds()
        off()
        assert not finds()
        with on():
            assert finds()
        assert not finds()
        with pytest.raises(mgx.errors.OptionError):
            mgx.autograd.set_detect_anomaly("yes")
    finally:
        off()
