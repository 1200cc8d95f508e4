"""Where a gradient comes from: the chain rule of a scalar graph, written out path by path with its numbers."""
import heapq
import itertools
import math
from dataclasses import dataclass

from microgradx._core.value import Value
from microgradx.errors import DTypeError, OptionError

__all__ = ["Explanation", "Path", "explain"]

SHOWN = 6                               # factors at either end of a path that are written out
FAR = 1e9                               # the logarithm of what has none: 0, inf, nan


@dataclass(frozen=True, eq=False)
class Path:
    """One way from the loss to w: ``nodes``, the loss first, w last; ``factors[k]`` = d nodes[k] / d nodes[k+1]."""
    nodes: tuple
    factors: tuple

    @property
    def product(self):
        """What this path contributes to the gradient."""
        return math.prod(self.factors)

    def by_operation(self):
        """{operation: (how often, the product of its factors)}: what the slopes of activations and what weights do."""
        found = {}
        for node, factor in zip(self.nodes, self.factors):
            count, product = found.get(node._op, (0, 1.0))
            found[node._op] = count + 1, product * factor
        return found


@dataclass(frozen=True, eq=False)
class Explanation:
    """What ``explain`` found: ``gradient`` = d loss / d w, the sum over all ``count`` paths, of which ``paths`` are
    those with the largest products; ``rest`` is what the others sum to. ``str`` writes it out."""
    loss: Value
    w: Value
    gradient: float
    count: int
    paths: tuple

    @property
    def rest(self):
        return self.gradient - sum(path.product for path in self.paths) if len(self.paths) < self.count else 0.0

    def __str__(self):
        names = _Names(self.loss, self.w)
        whole = f"d{names[self.loss]}/d{names[self.w]}"
        if not self.count:
            return f"{whole} = 0: no path leads from {names[self.loss]} to {names[self.w]}"
        lines = [f"{whole} = {self.gradient:.7g}, the sum over {_count(self.count)}"]
        for path in self.paths:
            lines += ["", *_written(path, names, whole)]
        left = self.count - len(self.paths)
        if left:
            lines += ["", f"… and {_count(left, 'more ')} sum to {self.rest:.4g}"]
        return "\n".join(lines)


def explain(loss, w, most=5):
    """d loss / d w as the chain rule has it: for each path from ``loss`` back to ``w`` its factors and their product.

    The ``most`` largest paths are written out, largest first; the others are counted and summed exactly, however many
    there are. Where nodes on a path have labels, the factors are those between labelled nodes, each with what it is
    made of; else every node counts. ``backward`` need not have run. O(nodes) and, per path, O(its operands).

    Raises ``DTypeError`` for what is no Value.

    >>> from microgradx import Value
    >>> from microgradx.flow import explain
    >>> w1, w2, x = Value(1.0, label="w1"), Value(1.0, label="w2"), Value(1.0)
    >>> o1 = (w1 * x).sigmoid(); o1.label = "O1"
    >>> o2 = (w2 * o1).sigmoid(); o2.label = "O2"
    >>> loss = 0.5 * (o2 - 0.0) ** 2; loss.label = "L"
    >>> print(explain(loss, w1))
    dL/dw1 = 0.0291138, the sum over 1 path
    <BLANKLINE>
    dL/dO2 · dO2/dO1 · dO1/dw1
      dL/dO2   0.6750375  = 0.5 [*] · 1.350075 [**2] · 1 [-]
      dO2/dO1  0.2193619  = 0.2193619 [sigmoid] · 1 [*]
      dO1/dw1  0.1966119  = 0.1966119 [sigmoid] · 1 [*]
      product  0.0291138
    """
    for name, node in (("loss", loss), ("w", w)):
        if not isinstance(node, Value):
            raise DTypeError(f"explain: {name} is a Value, not {type(node).__name__}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise OptionError(f"explain: most is an integer >= 0, not {most!r}")
    edges = _edges(loss, w)
    total, count, best = _summed(edges, w)
    if id(loss) not in count:
        return Explanation(loss, w, 0.0, 0, ())
    paths = itertools.islice(_largest_first(loss, w, edges, best), most)
    return Explanation(loss, w, total[id(loss)], count[id(loss)], tuple(paths))


def _edges(loss, w):
    """{id: (node, [(operand, d node / d operand)])} of all nodes below ``loss``, operands first; none below ``w``."""
    edges, stack = {}, [(loss, False)]
    while stack:
        node, seen = stack.pop()
        if id(node) in edges:
            continue
        operands = [] if node is w else [(o, d) for o, d in zip(node._prev, node._local_grads) if d is not None]
        if seen:
            edges[id(node)] = node, operands
        else:
            stack.append((node, True))
            stack += [(operand, False) for operand, _ in operands if id(operand) not in edges]
    return edges


def _summed(edges, w):
    """Three dicts over the nodes from which w is reached: d node / d w, the number of paths, log of the largest one."""
    total, count, best = {id(w): 1.0}, {id(w): 1}, {id(w): 0.0}
    for key, (_, operands) in edges.items():
        below = [(id(o), d) for o, d in operands if id(o) in count]
        if below:
            total[key] = sum(d * total[o] if total[o] else 0.0 for o, d in below)
            count[key] = sum(count[o] for o, _ in below)
            best[key] = max(_log(d) + best[o] for o, d in below)
    return total, count, best


def _log(factor):
    size = abs(factor)
    return math.log(size) if 0 < size < math.inf else -FAR if size == 0 else FAR


def _largest_first(loss, w, edges, best):
    """Paths by the size of their product: a search whose estimate of what is to come, ``best``, is exact."""
    order = itertools.count()
    queue = [(-best[id(loss)], next(order), 0.0, (loss, None, None))]
    while queue:
        _, _, so_far, trail = heapq.heappop(queue)
        node = trail[0]
        if node is w:
            yield _path(trail)
            continue
        for operand, factor in edges[id(node)][1]:
            if id(operand) in best:
                size = so_far + _log(factor)
                heapq.heappush(queue, (-size - best[id(operand)], next(order), size, (operand, factor, trail)))


def _path(trail):
    nodes, factors = [], []
    while trail:
        node, factor, trail = trail
        nodes.append(node)
        factors.append(factor)
    return Path(tuple(reversed(nodes)), tuple(reversed(factors))[1:])


# ----- as text -------------------------------------------------------------------------------------------------------

class _Names:
    """What nodes are called: their label, L and w, or v1, v2 ... in the order in which they are met."""

    def __init__(self, loss, w):
        self.known, self.numbers = {id(w): w.label or "w", id(loss): loss.label or "L"}, itertools.count(1)

    def __getitem__(self, node):
        if id(node) not in self.known:
            self.known[id(node)] = node.label or f"v{next(self.numbers)}"
        return self.known[id(node)]


def _count(n, more=""):
    return f"{n} {more}path" + "s" * (n != 1)


def _written(path, names, whole):
    inner = range(1, len(path.nodes) - 1)
    stops = [k for k in inner if path.nodes[k].label] or list(inner)
    stops = [0, *stops, len(path.nodes) - 1] if len(path.nodes) > 1 else [0]
    pieces = list(zip(stops, stops[1:]))
    if len(pieces) > 2 * SHOWN:                             # what lies between the first and the last is one factor
        pieces[SHOWN:-SHOWN] = [(pieces[SHOWN][0], pieces[-SHOWN - 1][1])]
    rows = []
    for start, end in pieces:
        parts = [f"{f:.7g} [{node._op or '?'}]" for node, f in zip(path.nodes[start:end], path.factors[start:end])]
        made = " · ".join(parts if len(parts) <= 6 else [*parts[:2], f"{len(parts) - 4} more", *parts[-2:]])
        rows.append((f"d{names[path.nodes[start]]}/d{names[path.nodes[end]]}",
                     f"{math.prod(path.factors[start:end]):.7g}", ("= " if len(parts) > 1 else "  ") + made))
    rows.append(("product", f"{path.product:.7g}", ""))
    yield " · ".join(head for head, _, _ in rows[:-1]) or whole
    wide, broad = (max(len(row[k]) for row in rows) for k in (0, 1))
    for head, number, made in rows:
        yield f"  {head:<{wide}}  {number:<{broad}}  {made}".rstrip()
