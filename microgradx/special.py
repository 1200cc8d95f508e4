"""Special functions by the names that ``torch.special`` and ``scipy.special`` have for them.

>>> import microgradx as mgx
>>> mgx.special.expit(mgx.Tensor([0.0]))
Tensor([0.5])
"""
from microgradx import functional
from microgradx.arrays import special

digamma, entr, erfcx, erfinv, i0, i0e, i1, i1e = (
    special.digamma, special.entr, special.erfcx, special.erfinv, special.i0, special.i0e, special.i1, special.i1e)
log_ndtr, ndtr, ndtri, polygamma, sinc, xlog1py, zeta = (
    special.log_ndtr, special.ndtr, special.ndtri, special.polygamma, special.sinc, special.xlog1py, special.zeta)
gammaln, psi, multigammaln, gammainc, gammaincc = (
    special.lgamma, special.digamma, special.mvlgamma, special.igamma, special.igammac)
erf, erfc, exp2, expit, expm1, log1p = (
    functional.erf, functional.erfc, functional.exp2, functional.sigmoid, functional.expm1, functional.log1p)
log_softmax, logit, logsumexp, round, softmax, xlogy = (
    functional.log_softmax, functional.logit, functional.logsumexp, functional.round, functional.softmax,
    functional.xlogy)

__all__ = ["digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc",
           "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp",
           "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta"]
