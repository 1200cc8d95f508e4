"""A loop of training with places at which it may be broken, in microgradx or torch."""
from microgradx import flow


def train(net, optimizer, cost, steps=24, before=None, after=None, zero=True, tell=True, backward=True, every=4,
          **options):
    """Steps of ``cost(net, step)``, and what was seen of them."""
    with flow.watch(net, optimizer, every=every, **options) as run:
        for step in range(steps):
            if zero:
                optimizer.zero_grad()
            loss = cost(net, step)
            if tell:
                run.loss(loss)
            if backward:
                loss.backward()
            if before:
                before(net, optimizer)
            optimizer.step()
            if after:
                after(net, optimizer)
    return run


def evaluate(library, net, x):
    """A pass as people evaluate, and back to training."""
    net.eval()
    with library.no_grad():
        net(x)
    net.train()


def clip(nn, bound):
    """What clips the norm, between backward pass and step."""
    return lambda net, _: nn.utils.clip_grad_norm_(net.parameters(), bound)
