"""L-BFGS, with torch's options, stopping rules and line search: Nocedal and Wright (2006), algorithms 7.4, 3.5 and
3.6."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from microgradx._core.graph import no_grad
from microgradx._core.launch import note_as_it_is
from microgradx._core.tensor import Tensor, concat
from microgradx.errors import OptionError
from microgradx.names import make_public
from microgradx.optim.optimizers import NOT_NEGATIVE, Optimizer, Options, Params, evaluated, plain_options

__all__ = ["LBFGS"]

DECREASE, CURVATURE = 1e-4, 0.9             # the constants of Wolfe's conditions
MOST_TRIALS = 25                            # points that a line search looks at


class Point(NamedTuple):
    """A point of the line: how far it is, the loss, its gradient, and its slope along the line."""
    t: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS(Optimizer):
    """Quasi-Newton steps: the inverse Hessian is estimated from the last ``history_size`` changes of the gradient.

    ``step(closure)`` makes up to ``max_iter`` iterations with up to ``max_eval`` losses (``None``: 5/4 of that), and
    stops where no element of the gradient is larger than ``tolerance_grad``, or where neither the parameters nor the
    loss change by more than ``tolerance_change``. ``lr`` is the length of a step, or with
    ``line_search_fn="strong_wolfe"`` the first length that a search tries. One group of parameters. It is not captured:
    in a compiled function it makes the call run eagerly. What the closure or a signal raises leaves the parameters and
    the state as they were after the last whole iteration.

    >>> import microgradx as mgx
    >>> from microgradx import optim
    >>> w = mgx.Tensor([-1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0])**2 + 100 * (w[1] - w[0]**2)**2
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     loss = optimizer.step(closure)
    >>> [round(x, 3) for x in w.tolist()]
    [1.0, 1.0]
    """

    def __init__(self, params: Params, lr: float = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        super().__init__(params, dict(
            lr=lr, max_iter=max_iter, max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad, tolerance_change=tolerance_change, history_size=history_size,
            line_search_fn=line_search_fn))

    @classmethod
    def check(cls, options: Options) -> None:
        """Raise ``OptionError`` for an option that is unknown or out of its range."""
        for option, value in plain_options(options).items():
            if option in ("max_iter", "max_eval", "history_size"):
                fits, words = isinstance(value, int) and value >= 1, "an integer >= 1"
            elif option == "line_search_fn":
                fits, words = value in (None, "strong_wolfe"), "None or 'strong_wolfe'"
            elif option in ("lr", "tolerance_grad", "tolerance_change", "initial_lr"):
                fits, words = isinstance(value, (int, float)) and NOT_NEGATIVE[0](value), NOT_NEGATIVE[1]
            else:
                raise OptionError(f"LBFGS: no option is called {option!r}")
            if not fits:
                raise OptionError(f"LBFGS: {option}={value!r} is not {words}")

    def _group(self, params: list[Tensor], options: dict[str, Any]) -> Any:
        if self.param_groups:
            raise OptionError("LBFGS: all parameters are one group, and a second one was given")
        return super()._group(params, plain_options(options))

    def _flat_gradient(self) -> Tensor:
        return concat([(p * 0.0 if p.grad is None else p.grad).detach().reshape(-1)
                       for p in self.param_groups[0]["params"]])

    def _move(self, t: float, direction: Tensor, start: Sequence[Tensor]) -> None:
        """Let the parameters be ``start`` and t times the direction."""
        at = 0
        for p, s in zip(self.param_groups[0]["params"], start):
            p.copy_(s + t * direction[at:at + p.size].reshape(p.shape))
            at += p.size

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` iterations; returns the loss at the start.

        ``closure`` clears the gradients, computes the loss, calls ``backward()`` and returns the loss; it is called
        again and again. Raises ``OptionError`` if there is none, or if it returns nothing.
        """
        note_as_it_is("LBFGS steps inside, which decides by the numbers; step it between the calls")
        if closure is None:
            raise OptionError("LBFGS.step: a closure is needed, which clears the gradients, computes the loss, calls "
                              "backward() and returns the loss")
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        first = evaluated("LBFGS", closure)
        loss, evaluations = float(first), 1
        state.setdefault("n_iter", 0)
        state["func_evals"] = state.get("func_evals", 0) + 1
        gradient = self._flat_gradient()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            before = loss
            with self._whole_or_not(state) as start:
                state["n_iter"] += 1
                self._remember(state, gradient)
                direction = _direction(state, gradient)
                t = float(group["lr"])
                if state["n_iter"] == 1:
                    t *= min(1.0, 1.0 / gradient.abs().sum().item())
                slope = (gradient @ direction).item()
                state.update(d=direction, t=t, prev_flat_grad=gradient, prev_loss=before)
                if slope > -group["tolerance_change"]:
                    break
                now = Point(0.0, loss, gradient, slope)
                now, used = self._next_point(closure, now, t, direction, start, iteration < group["max_iter"])
                loss, gradient, state["t"] = now.loss, now.gradient, now.t
                evaluations += used
                state["func_evals"] += used
            if (evaluations >= group["max_eval"] or _largest(gradient) <= group["tolerance_grad"]
                    or _largest(direction) * now.t <= group["tolerance_change"]
                    or abs(loss - before) < group["tolerance_change"]):
                break
        return first

    @contextmanager
    def _whole_or_not(self, state: dict[str, Any]) -> Iterator[list[Tensor]]:
        """Gives copies of the parameters; they and the state are as before again if an iteration ends early."""
        start = [p.detach().clone() for p in self.param_groups[0]["params"]]
        whole = {name: list(value) if isinstance(value, list) else value for name, value in state.items()}
        try:
            yield start
        except BaseException:
            for p, s in zip(self.param_groups[0]["params"], start):
                p.copy_(s)
            state.clear()
            state.update(whole)
            raise

    def _next_point(self, closure: Callable[[], Any], now: Point, t: float, direction: Tensor, start: list[Tensor],
                    further: bool) -> tuple[Point, int]:
        """The point after an iteration, where the parameters are then, and how many losses it took."""
        if self.param_groups[0]["line_search_fn"] is None:
            self._move(t, direction, start)
            if not further:                                     # nobody asks for its loss
                return now._replace(t=t), 0
            loss = float(evaluated("LBFGS", closure))
            return Point(t, loss, self._flat_gradient(), 0.0), 1

        def at(t: float) -> Point:
            self._move(t, direction, start)
            loss, gradient = float(evaluated("LBFGS", closure)), self._flat_gradient()
            return Point(t, loss, gradient, (gradient @ direction).item())

        found, used = strong_wolfe(at, now, t, _largest(direction))
        self._move(found.t, direction, start)
        return found, used

    def _remember(self, state: dict[str, Any], gradient: Tensor) -> None:
        """Take the last change of the gradient into the history."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return
        change, moved = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = (change @ moved).item()
        if curvature > 1e-10:
            for name, value in (("old_dirs", change), ("old_stps", moved), ("ro", 1.0 / curvature)):
                state[name].append(value)
                del state[name][:-self.param_groups[0]["history_size"]]
            state["H_diag"] = curvature / (change @ change).item()


def _direction(state: dict[str, Any], gradient: Tensor) -> Tensor:
    """The product of the estimated inverse Hessian and -gradient, by two loops over the history."""
    history = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
    shares: list[float] = []
    q: Tensor = -gradient
    for change, moved, ro in reversed(history):
        shares.append((moved @ q).item() * ro)
        q = q - shares[-1] * change
    q = q * state["H_diag"]
    for (change, moved, ro), share in zip(history, reversed(shares)):
        q = q + (share - (change @ q).item() * ro) * moved
    return q


def _largest(x: Tensor) -> float:
    return float(x.abs().max().item()) if x.size else 0.0


# ----- the line search -----------------------------------------------------------------------------------------------

def strong_wolfe(at: Callable[[float], Point], start: Point, t: float, scale: float) -> tuple[Point, int]:
    """A point of a line that satisfies the strong conditions of Wolfe, and how many points were looked at.

    ``at(t)`` gives a point; the search goes outwards from t, by cubic interpolation, until two points bracket such a
    point, and then narrows the bracket, down to a width of 1e-9 / ``scale``.
    """
    previous, now, trials = start, at(t), 0
    looked_at, bracket, done = 1, [start, start], False
    while trials < MOST_TRIALS:
        if _is_too_high(now, start) or trials > 1 and now.loss >= previous.loss:
            bracket = [previous, now]
            break
        if abs(now.slope) <= -CURVATURE * start.slope:
            bracket, done = [now, now], True
            break
        if now.slope >= 0:
            bracket = [previous, now]
            break
        farther = cubic_minimum(previous, now, now.t + 0.01 * (now.t - previous.t), 10 * now.t)
        previous, now = now, at(farther)
        looked_at, trials = looked_at + 1, trials + 1
    else:
        bracket = [start, now]
    stalled = False
    low = _lower(bracket)
    while not done and trials < MOST_TRIALS:
        nearest, farthest = sorted(point.t for point in bracket)
        if (farthest - nearest) * scale < 1e-9:
            break
        t, margin = cubic_minimum(bracket[0], bracket[1], nearest, farthest), 0.1 * (farthest - nearest)
        if min(farthest - t, t - nearest) < margin:             # too near an end twice, or at it: a tenth inside
            if stalled or t >= farthest or t <= nearest:
                t = farthest - margin if abs(t - farthest) < abs(t - nearest) else nearest + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        now = at(t)
        looked_at, trials = looked_at + 1, trials + 1
        if _is_too_high(now, start) or now.loss >= bracket[low].loss:
            bracket[1 - low] = now
            low = _lower(bracket)
            continue
        done = abs(now.slope) <= -CURVATURE * start.slope
        if not done and now.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = now
    return bracket[low], looked_at


def _lower(bracket: Sequence[Point]) -> int:
    return 0 if bracket[0].loss <= bracket[1].loss else 1


def _is_too_high(now: Point, start: Point) -> bool:
    """Has the loss not fallen by as much as the slope at the start lets one expect?"""
    return now.loss > start.loss + DECREASE * now.t * start.slope


def cubic_minimum(one: Point, other: Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is least, between bounds; their middle if nowhere."""
    if one.t > other.t:
        one, other = other, one
    width = other.t - one.t
    if width > 0:
        mean = one.slope + other.slope - 3 * (one.loss - other.loss) / (one.t - other.t)
        square = mean ** 2 - one.slope * other.slope
        root = math.sqrt(square) if square >= 0 else math.nan
        bottom = other.slope - one.slope + 2 * root
        if square >= 0 and bottom != 0:
            return min(max(other.t - width * (other.slope + root - mean) / bottom, least), most)
    return (least + most) / 2


make_public(__name__, "step", "zero_grad")
