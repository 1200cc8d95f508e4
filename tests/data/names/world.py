"""The names that the lines of ``*.txt`` use, made of torch or of microgradx, and what becomes of a line's result.

A line is what a person types in torch's spelling, statements before a last expression, ``a = x.clone(); a.zero_()``.
``world`` takes the modules that stand for ``torch``, ``torch.nn``, ``torch.nn.functional`` and so on, and gives the
variables of the lines. The same code runs with torch, when the results are recorded, and with microgradx in the tests.
"""
import ast
import re

import numpy as np


def numbers(*shape, shift=0.0, scale=1.0):
    """Fixed numbers of both signs, none alike, none near an integer or a half."""
    count = int(np.prod(shape))
    return (scale * np.sin(np.arange(count) * 1.7 + 0.3 + shift) * (1 + 0.01 * np.arange(count))).reshape(shape)


def world(torch, places, inputs=()):
    """The variables of a line. ``places`` has the modules by the names that the lines use, ``nn``, say; ``inputs`` are
    the first leaves."""
    leaves, inputs = [], list(inputs)

    def leaf(array, dtype="float32"):
        made = inputs.pop(0) if inputs else torch.from_numpy(np.array(array, dtype)).requires_grad_(True)
        leaves.append(made)
        return made

    def fill(module):
        """Give every parameter of ``module`` fixed numbers; their gradients count as well."""
        for at, p in enumerate(module.parameters()):
            p.data = torch.from_numpy(np.array(numbers(*p.shape, shift=at, scale=0.4), str(p.dtype).split(".")[-1]))
            leaves.append(p)
        return module

    square = numbers(3, 3)
    found = dict(places, torch=torch, np=np, fill=fill, leaf=leaf,
                 x=leaf(numbers(3, 4)), y=leaf(numbers(3, 4, shift=2)), w=leaf(numbers(4, 2)), v=leaf(numbers(4)),
                 s=leaf(numbers(2, 3, 4)), img=leaf(numbers(2, 3, 6, 6)), p=leaf(0.1 + np.abs(numbers(3, 4))),
                 a=leaf(numbers(3, 3) + 2 * np.eye(3)), spd=leaf(square @ square.T + np.eye(3)),
                 d=leaf(numbers(3, 4), "float64"),
                 i=torch.from_numpy(np.array([[0, 2, 1, 3], [1, 1, 0, 2], [3, 0, 2, 1]])),
                 labels=torch.from_numpy(np.array([0, 3, 1])), m=torch.from_numpy(numbers(3, 4) > 0),
                 ones=torch.from_numpy(np.ones((3, 4), "float32")))
    return found, leaves


def evaluate(line, variables):
    """The value of the last expression of a line."""
    body = ast.parse(line).body
    last = body.pop()
    if body:
        exec(compile(ast.Module(body, []), line, "exec"), variables)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), line, "eval"), variables)
    exec(compile(ast.Module([last], []), line, "exec"), variables)
    return None


def plain(value, tensor, floats):
    """A result as JSON has it; tensors as [dtype, shape, numbers]. Those with gradients are added to ``floats``."""
    if isinstance(value, tensor):
        if value.requires_grad:
            floats.append(value)
        array = value.detach().numpy()
        return {"dtype": array.dtype.name, "shape": list(array.shape),
                "numbers": [float(f"{n:.9g}") if array.dtype.kind == "f" else int(n) for n in array.ravel().tolist()]}
    if isinstance(value, dict):
        return {"keys": [str(k) for k in value], "values": [plain(v, tensor, floats) for v in value.values()]}
    if isinstance(value, (list, tuple)):
        return [plain(v, tensor, floats) for v in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float, np.number)):
        return float(value) if isinstance(value, (float, np.floating)) else int(value)
    return re.sub(r"^(torch|microgradx)\.", "", str(value))


def outcome(line, torch, places):
    """What a line gives: its value and, where it has a graph, the gradients of a weighted sum of all its numbers.

    A line that begins with ``!`` is bad input, and gives the error.
    """
    variables, leaves = world(torch, places)
    if line.startswith("!"):
        try:
            evaluate(line[1:].strip(), variables)
        except Exception as error:
            return {"error": type(error).__name__}, error
        return {"error": None}, None
    floats = []
    found = {"value": plain(evaluate(line, variables), torch.Tensor, floats)}
    if floats:
        weighted(floats, torch, 5).backward()
        found["grads"] = [None if t.grad is None else plain(t.grad, torch.Tensor, []) for t in leaves]
    return found, None


def weighted(tensors, torch, shift):
    """A sum of all numbers of the tensors, none with the weight of another."""
    return sum((t * torch.from_numpy(np.array(1 + numbers(*t.shape, shift=shift), str(t.dtype).split(".")[-1]))).sum()
               .to(torch.float64) for t in tensors)


def second_derivatives(line, torch, places):
    """The gradients of a weighted sum of the gradients that ``outcome`` gives, or None where these have no graph."""
    variables, leaves = world(torch, places)
    floats = []
    plain(evaluate(line, variables), torch.Tensor, floats)
    first = torch.autograd.grad(weighted(floats, torch, 5), leaves, create_graph=True, allow_unused=True)
    first = [g for g in first if g is not None and g.requires_grad]
    if not first:
        return None
    found = torch.autograd.grad(weighted(first, torch, 7), leaves, allow_unused=True)
    return [None if g is None else plain(g, torch.Tensor, []) for g in found]


def lines(path):
    """The lines of a file that say something: neither empty nor a comment."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
