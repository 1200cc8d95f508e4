"""einsum, bmm, matmul and friends: the same product in many ways."""
import numpy as np
import torch
from torch import einsum

rng = np.random.RandomState(0)
T = lambda *s: torch.tensor(rng.randn(*s), dtype=torch.float64)
A, B, v, w = T(3, 4), T(4, 5), T(4), T(3)
print(torch.einsum("ij,jk->ik", A, B).shape, torch.allclose(torch.einsum("ij,jk", A, B), A @ B))
print(torch.einsum("ij->ji", A).shape, torch.einsum("ij->", A), torch.einsum("ij->j", A).shape, torch.einsum("ii->i", T(3, 3)).shape, torch.einsum("ii", torch.eye(3)))
print(torch.einsum("ij,j->i", A, v).sub(A.mv(v)).abs().max() < 1e-12, einsum("i,ij,j", w, A, v), torch.einsum("i,j->ij", w, v).shape)
P, Q = T(2, 3, 4), T(2, 4, 5)
print(torch.einsum("bij,bjk->bik", P, Q).equal(torch.bmm(P, Q)) or torch.allclose(torch.einsum("bij,bjk->bik", P, Q), P.bmm(Q)))
print(torch.einsum("...ij,...jk->...ik", P, Q).shape, torch.einsum("b...->b", P).shape, torch.einsum("bhqd,bhkd->bhqk", T(2, 2, 3, 4), T(2, 2, 5, 4)).shape)
print(torch.matmul(P, v).shape, torch.matmul(v, Q).shape, torch.mm(A, B).shape, torch.mv(A, v).shape, torch.tensordot(P, Q, dims=([2], [1])).shape, torch.kron(torch.eye(2), A).shape)
print(torch.addmm(torch.zeros(3, 5, dtype=torch.float64), A, B, beta=0.5, alpha=2).sum(), torch.baddbmm(torch.zeros(2, 3, 5, dtype=torch.double), P, Q).shape, torch.chain_matmul(A, B).shape if hasattr(torch, "chain_matmul") else "")
print(torch.linalg.multi_dot([A, B, T(5, 2)]).shape, torch.inner(v, v) - v @ v, torch.linalg.norm(A), torch.norm(v, p=1), v.norm(float("inf")), torch.linalg.vector_norm(v, 3), torch.linalg.matrix_norm(A, "fro"))
W = T(2, 3).requires_grad_()
x = T(5, 3)
out = torch.einsum("oi,bi->bo", W, x)
out.sum().backward()
print(torch.allclose(W.grad, x.sum(0).expand(2, 3)), W.grad.shape)
bil = torch.einsum("bi,oij,bj->bo", x, T(2, 3, 3), x)
print(bil.shape, bil.dtype, bil)
q, k, val = T(1, 4, 6), T(1, 4, 6), T(1, 4, 6)
attn = torch.softmax(torch.einsum("bqd,bkd->bqk", q, k) / 6 ** 0.5, dim=-1)
print(torch.allclose(torch.einsum("bqk,bkd->bqd", attn, val), torch.nn.functional.scaled_dot_product_attention(q, k, val)))
u, s, vh = torch.linalg.svd(A, full_matrices=False)
print(torch.allclose(torch.einsum("ik,k,kj->ij", u, s, vh), A), s)
Qm, R = torch.linalg.qr(A.T)
print(Qm.shape, R.shape, torch.allclose(Qm @ R, A.T), torch.linalg.matrix_rank(A), torch.linalg.det(T(3, 3)).shape, torch.linalg.slogdet(torch.eye(3))[1])
print(torch.linalg.solve(torch.eye(3, dtype=torch.float64) * 2, w), torch.linalg.inv(torch.eye(2) * 4), torch.inverse(torch.eye(2)), torch.linalg.pinv(A).shape, torch.linalg.eigvalsh(torch.diag(torch.tensor([3., 1., 2.]))))
print(torch.linalg.lstsq(A.T, v).solution.shape, torch.cholesky_solve(torch.ones(2, 1), torch.eye(2)), torch.linalg.cond(torch.eye(3)), torch.diag_embed(torch.tensor([[1., 2.]])), torch.block_diag(torch.ones(1, 2), torch.ones(1, 1)))
try:
    torch.einsum("ij,jk", A, A)
except RuntimeError as e:
    print("RuntimeError", len(str(e)) > 10)
try:
    A @ A
except RuntimeError as e:
    print("RuntimeError", "3" in str(e) and "4" in str(e))
