"""A watched loop in TensorBoard."""
import numpy as np

__all__ = ["log"]


def log(run, writer, prefix="flow"):
    """Write each measured step of a ``loop.Loop`` to ``writer``, a ``torch.utils.tensorboard.SummaryWriter`` or what
    has its ``add_scalar(tag, value, step)`` and ``add_histogram(tag, values, step)``; returns ``run``.

    Scalars: loss, rate, the norm of all gradients, and of each layer log10 of its error. Histograms: log10 of the size
    of the numbers of each parameter's gradient, without zeros.
    """
    def write(run):
        row = run.latest
        numbers = {"loss": row.loss, "rate": row.rate, "gradient": row.total}
        if len(run.record.steps) and run.record.steps[-1] == row.step:
            with np.errstate(divide="ignore"):
                numbers |= {f"log10 error/{layer.name}": error for layer, error in zip(
                    run.record.layers, np.log10(run.record["error"][-1]))}
        for name, number in numbers.items():
            if number is not None and np.isfinite(number):
                writer.add_scalar(f"{prefix}/{name}", float(number), row.step)
        for name, p in zip(run.names, run.parameters):
            if p.grad is not None:
                sizes = np.abs(run.engine.array(p.grad)).ravel()
                sizes = sizes[(sizes > 0) & np.isfinite(sizes)]
                if len(sizes):
                    writer.add_histogram(f"{prefix}/log10 gradient/{name}", np.log10(sizes), row.step)
    run.on_measure(write)
    return run
