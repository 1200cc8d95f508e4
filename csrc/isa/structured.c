/* Reductions, softmax, optimizers, windows and normalization. */
#include "isa.h"
#ifdef ISA
#include "f32.h"
#include "reduce.inl"
#include "softmax.inl"
#include "optim.inl"
#include "conv.inl"
#include "norm.inl"
#include "f64.h"
#include "reduce.inl"
#include "softmax.inl"
#include "optim.inl"
#include "conv.inl"
#include "norm.inl"

#define UPDATE(i, kernel) (k->update[i][MGX_F32] = kernel##_f32, k->update[i][MGX_F64] = kernel##_f64)

ENTER(structured)
{
    BOTH(sum);
    BOTH(max);
    BOTH(finite);
    BOTH(softmax);
    BOTH(softmax_vjp);
    BOTH(add_rows);
    BOTH(cross_entropy);
    BOTH(cross_entropy_vjp);
    UPDATE(MGX_SGD, sgd);
    UPDATE(MGX_RMSPROP, rmsprop);
    UPDATE(MGX_ADAGRAD, adagrad);
    UPDATE(MGX_ADAM, adam);
    UPDATE(MGX_ADAMW, adamw);
    BOTH(columns);
    BOTH(uncolumns);
    BOTH(pool_sum);
    BOTH(pool_max);
    BOTH(unpool);
    BOTH(norm);
    BOTH(norm_vjp);
    BOTH(norm_weight_vjp);
}
#endif
