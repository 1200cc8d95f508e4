"""Record modules: outputs and gradients of inputs and parameters as torch computes them.

Run:      python record_nn.py                (a second; writes nn_cases.npz)
Needs:    torch (CPU), numpy.  Recorded with torch 2.13.0, numpy 2.4.6, one thread.

One case is one module of ``MODULES`` in one dtype. Its arrays are called ``case/dtype/kind/name`` with kinds
``state`` (parameters before the call), ``input``, ``output``, ``cotangent`` and ``grad`` (of inputs, by number, and of
parameters, by name).  With y the outputs and c the cotangents, gradients are those of sum(c * y).
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
rng = np.random.default_rng(20260202)
CAUSAL = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
SHUT = torch.tensor([[False, True, False, False, True, False]] * 5)


def normal(*shape):
    return rng.standard_normal(shape)


def attend(**options):
    return lambda m, *xs: m(*(xs * 3 if len(xs) == 1 else xs), need_weights=True, **options)


def flat(result):
    """The tensors of nested tuples."""
    return [result] if isinstance(result, torch.Tensor) else [y for part in result for y in flat(part)]


# case: (torch's module, inputs, how it is called)
MODULES = {
    "linear": (lambda: nn.Linear(3, 4), [normal(2, 5, 3)]),
    "embedding": (lambda: nn.Embedding(7, 3), [np.array([[0, 6, 2], [2, 2, 5]])]),
    "embedding_padding": (lambda: nn.Embedding(7, 3, padding_idx=2), [np.array([[0, 6, 2], [2, 2, 5]])]),
    "prelu": (lambda: nn.PReLU(3), [normal(2, 3, 4)]),
    "softmax": (lambda: nn.Softmax(-1), [normal(3, 21)]),
    "log_softmax": (lambda: nn.LogSoftmax(1), [normal(3, 20, 2)]),
    "rnn": (lambda: nn.RNN(3, 4), [normal(5, 2, 3)]),
    "rnn_relu": (lambda: nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True), [normal(2, 5, 3), normal(2, 2, 4)]),
    "rnn_single": (lambda: nn.RNN(3, 4, bias=False), [normal(5, 3)]),
    "gru": (lambda: nn.GRU(3, 4, 2), [normal(5, 2, 3), normal(2, 2, 4)]),
    "gru_batch_first": (lambda: nn.GRU(3, 4, batch_first=True), [normal(2, 5, 3)]),
    "lstm": (lambda: nn.LSTM(3, 4, 2), [normal(5, 2, 3), normal(2, 2, 4), normal(2, 2, 4)],
             lambda m, x, h, c: m(x, (h, c))),
    "lstm_batch_first": (lambda: nn.LSTM(3, 4, batch_first=True), [normal(2, 5, 3)]),
    "attention": (lambda: nn.MultiheadAttention(6, 2, batch_first=True), [normal(2, 5, 6)], attend()),
    "attention_causal": (lambda: nn.MultiheadAttention(6, 3, batch_first=True), [normal(2, 5, 6)],
                         attend(attn_mask=CAUSAL)),
    "attention_single": (lambda: nn.MultiheadAttention(6, 2, bias=False, batch_first=True), [normal(5, 6)], attend()),
    "attention_cross": (lambda: nn.MultiheadAttention(6, 2, batch_first=True),
                        [normal(2, 5, 6), normal(2, 6, 6), normal(2, 6, 6)], attend(attn_mask=SHUT)),
}


def main():
    arrays = {}
    for case, (make, inputs, *call) in MODULES.items():
        torch.manual_seed(len(arrays))
        start = {name: normal(*p.shape) for name, p in make().named_parameters()}
        cotangents = None
        for dtype in (np.float64, np.float32):
            module = make().to(torch.from_numpy(np.zeros(0, dtype)).dtype)
            module.load_state_dict({name: torch.tensor(a.astype(dtype)) for name, a in start.items()})
            xs = [torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in inputs]
            for x in xs:
                x.requires_grad_(x.dtype.is_floating_point)
            ys = flat((call or [lambda m, *xs: m(*xs)])[0](module, *xs))
            cotangents = cotangents or [normal(*y.shape) for y in ys]
            sum((y * torch.tensor(c.astype(dtype))).sum() for y, c in zip(ys, cotangents)).backward()
            groups = {"input": enumerate(xs), "output": enumerate(ys), "state": module.state_dict().items(),
                      "cotangent": enumerate(torch.tensor(c.astype(dtype)) for c in cotangents),
                      "grad": [(k, x.grad) for k, x in [*enumerate(xs), *module.named_parameters()]
                               if x.grad is not None]}
            for kind, named in groups.items():
                arrays |= {f"{case}/{np.dtype(dtype).name}/{kind}/{k}": t.detach().numpy() for k, t in named}
    np.savez_compressed(Path(__file__).parent / "nn_cases.npz", **arrays)
    print(f"{len(MODULES)} modules, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
