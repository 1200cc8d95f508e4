"""Record convolution, pooling and normalisation: values, gradients and second-order gradients as torch computes them.

Run:      python record_nets.py              (a few seconds; writes torch_nets.npz)
Needs:    torch (CPU), numpy.  Recorded with torch 2.13.0, numpy 2.4.6, one thread.
Format:   README.md beside this file, as torch_cases.npz.
"""
from pathlib import Path

import torch.nn.functional as F

from recorder import function, normal, out

# input, weight, what else
CONVOLUTIONS = {
    "conv1d": [
        ((2, 3, 7), (4, 3, 3), {}), ((2, 3, 7), (4, 3, 2), {"stride": 3}), ((3, 7), (2, 3, 3), {"padding": "same"}),
        ((1, 4, 8), (6, 2, 3), {"groups": 2, "padding": 2, "dilation": 2}), ((2, 1, 5), (1, 1, 4), {"padding": "same"}),
        ((2, 3, 5), (4, 3, 1), {"bias": False}), ((2, 3, 3), (2, 3, 1), {"stride": 2, "padding": 1})],
    "conv2d": [
        ((2, 3, 5, 6), (4, 3, 3, 3), {}), ((2, 3, 5, 6), (4, 3, 3, 3), {"padding": 1, "stride": 2}),
        ((1, 2, 7, 7), (3, 2, 2, 3), {"stride": [3, 4]}), ((3, 5, 5), (2, 3, 3, 2), {"padding": "same"}),
        ((2, 4, 6, 5), (4, 1, 3, 3), {"groups": 4, "padding": [0, 2]}), ((2, 2, 4, 4), (3, 2, 1, 1), {}),
        ((2, 4, 7, 8), (6, 2, 3, 2), {"groups": 2, "dilation": [2, 3], "padding": "valid", "bias": False}),
        ((1, 1, 1, 1), (1, 1, 1, 1), {}), ((2, 2, 3, 3), (2, 2, 3, 3), {}),
        ((2, 2, 2, 3), (2, 2, 3, 3), {"padding": 4, "stride": 3}),
        ((2, 2, 5, 4), (3, 2, 1, 1), {"stride": 2, "bias": False}),
        ((2, 2, 6, 6), (2, 2, 3, 3), {"padding": "same", "dilation": 2})]}

POOLS = [
    ("max_pool2d", (2, 3, 6, 6), {"kernel_size": 2}),
    ("max_pool2d", (2, 3, 7, 5), {"kernel_size": [3, 2], "stride": 1}),
    ("max_pool2d", (1, 2, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (2, 7, 8), {"kernel_size": 2, "stride": 3, "dilation": 2, "padding": 1}),
    ("max_pool2d", (1, 1, 4, 4), {"kernel_size": 1, "stride": 3}), ("max_pool2d", (1, 2, 3, 9), {"kernel_size": 3}),
    ("avg_pool2d", (2, 3, 6, 6), {"kernel_size": 2}),
    ("avg_pool2d", (2, 3, 7, 5), {"kernel_size": [3, 2], "stride": 1}),
    ("avg_pool2d", (1, 2, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool2d", (2, 5, 6), {"kernel_size": [3, 4], "stride": [2, 3], "padding": [1, 2], "count_include_pad": False}),
    ("avg_pool2d", (1, 1, 4, 4), {"kernel_size": 1, "stride": 3}),
    ("max_pool2d", (2, 3, 7, 8), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("max_pool2d", (1, 2, 6, 5), {"kernel_size": [3, 2], "stride": 3, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (2, 2, 4), {"kernel_size": 3, "stride": [2, 4], "ceil_mode": True}),
    ("max_pool2d", (1, 2, 8, 7), {"kernel_size": 2, "stride": 3, "dilation": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (2, 3, 5, 6), {"kernel_size": 2, "return_indices": True}),
    ("max_pool2d", (3, 5, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "return_indices": True}),
    *(("avg_pool2d", shape, {**options, "ceil_mode": True, "count_include_pad": include}) for include in (True, False)
      for shape, options in (((2, 3, 7, 8), {"kernel_size": 3, "stride": 2}),
                             ((2, 2, 4), {"kernel_size": 3, "stride": 2}),
                             ((1, 2, 6, 5), {"kernel_size": [3, 2], "stride": 3, "padding": 1}),
                             ((2, 2, 8, 6), {"kernel_size": 4, "stride": [5, 3], "padding": 2})))]

# input, how many of weight and bias, what else
NORMS = {
    "layer_norm": [((4, 5), 2, {"normalized_shape": [5]}), ((2, 3, 4), 2, {"normalized_shape": [3, 4]}),
                   ((3, 4), 0, {"normalized_shape": [4], "eps": 0.5}), ((2, 3, 5), 1, {"normalized_shape": [5]}),
                   ((6,), 2, {"normalized_shape": [6]}), ((70, 3), 2, {"normalized_shape": [3]})],
    "rms_norm": [((4, 5), 1, {"normalized_shape": [5]}), ((2, 3, 4), 1, {"normalized_shape": [3, 4], "eps": 0.1}),
                 ((3, 4), 0, {"normalized_shape": [4]})],
    "group_norm": [((2, 4, 3), 2, {"num_groups": 2}), ((2, 6, 2, 3), 2, {"num_groups": 3}),
                   ((3, 4), 0, {"num_groups": 1, "eps": 0.1}), ((2, 3, 5), 2, {"num_groups": 3})],
    "batch_norm": [((5, 3), 2, {}), ((3, 2, 4), 2, {}), ((2, 3, 3, 2), 2, {"eps": 0.1}), ((4, 2), 0, {})]}


def main():
    for op, rows in CONVOLUTIONS.items():
        for x, w, options in rows:
            options = dict(options)
            bias = options.pop("bias", True)
            function(op, lambda *a: getattr(F, op)(*a, **options), normal(*x), normal(*w), *[normal(w[0])] * bias,
                     kwargs=options)
    for op, x, options in POOLS:
        function(op, lambda a: getattr(F, op)(a, **options), normal(*x), kwargs=options)
    for op, rows in NORMS.items():
        for x, affine, options in rows:
            shape = options.get("normalized_shape", [x[1]] if len(x) > 1 else None)
            more = {"running_mean": None, "running_var": None, "training": True} if op == "batch_norm" else {}
            function(op, lambda a, *wb: getattr(F, op)(a, **options, **more, **dict(zip(("weight", "bias"), wb))),
                     normal(*x), *[normal(*shape) for _ in range(affine)], kwargs=options | more)
    out.save(Path(__file__).parent / "torch_nets.npz")
    print(f"{len(out.cases)} cases")


if __name__ == "__main__":
    main()
