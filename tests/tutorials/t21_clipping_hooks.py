"""Gradient clipping, and hooks that print norms."""
import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, parameters_to_vector, vector_to_parameters

rng = np.random.RandomState(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
for p in net.parameters():
    p.data = torch.tensor(rng.randn(*p.shape) * 0.7, dtype=torch.float32)


def forward_hook(module, inputs, output):
    print(f"  {module.__class__.__name__:<6} in {inputs[0].shape} out norm {output.norm():.4f}")


def backward_hook(module, grad_input, grad_output):
    print(f"  {module} grad_out {grad_output[0].norm().item():.4f} grad_in {tuple(grad_input[0].shape)}")


handles = [m.register_forward_hook(forward_hook) for m in net if isinstance(m, nn.Linear)]
handles.append(net[2].register_full_backward_hook(backward_hook))
x = torch.tensor(rng.randn(6, 4), dtype=torch.float32)
t = torch.tensor([0, 1, 1, 0, 1, 0])
loss = nn.functional.cross_entropy(net(x), t)
print("loss", loss)
loss.backward()
for h in handles:
    h.remove()


def grad_norm(parameters):
    total_norm = 0
    for p in parameters:
        param_norm = p.grad.detach().data.norm(2)
        total_norm += param_norm.item() ** 2
    return total_norm ** 0.5


print("before %.4f" % grad_norm(net.parameters()))
total = clip_grad_norm_(net.parameters(), max_norm=0.5)
print("total", total, "after %.4f" % grad_norm(net.parameters()))
clip_grad_value_(net.parameters(), clip_value=0.05)
print(max(p.grad.abs().max() for p in net.parameters()))
vec = parameters_to_vector(net.parameters())
print(vec.shape, vec.requires_grad)
vector_to_parameters(torch.zeros_like(vec), net.parameters())
print(net[0].weight.abs().sum(), net[0].weight.requires_grad)
w = torch.tensor([1.0, 2.0], requires_grad=True)
seen = []
h = w.register_hook(lambda g: seen.append(g.clone()))
(w * torch.tensor([3.0, 4.0])).sum().backward()
h.remove()
h = w.register_hook(lambda g: g * 2)
w.grad.zero_()
(w ** 2).sum().backward()
print(*seen, w.grad)
mid = w * 3
mid.retain_grad()
mid.pow(2).sum().backward()
print(mid.grad, mid.is_leaf, w.grad)
pre = net.register_forward_pre_hook(lambda m, args: print("called with", args[0].shape))
net(x)
pre.remove()
opt = torch.optim.SGD([w], lr=0.1)
opt.register_step_post_hook(lambda optimizer, args, kwargs: print("stepped", type(optimizer).__name__))
opt.register_step_pre_hook(lambda optimizer, args, kwargs: print("stepping", optimizer.param_groups[0]["lr"]))
opt.step()
print(w)
for name, p in net.named_parameters():
    print(f"{name:<10} {str(list(p.shape)):<8} {p.numel():>4} grad {p.grad.norm():.4f}")
