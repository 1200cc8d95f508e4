# The only `cdef extern` door to csrc. Everything else reaches C through what this module exports.
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "kernels.h" nogil:
    enum: MGX_F32, MGX_F64, MGX_I64, MGX_BOOL
    enum: MGX_MAXDIM, MGX_MAXARGS, MGX_NROWS
    enum: MGX_RECYCLES      # freed memory is kept for reuse; not in the checked build
    enum:                   # in the order of ops.def
        MGX_clone, MGX_neg, MGX_abs, MGX_sign, MGX_square, MGX_sqrt, MGX_rsqrt, MGX_reciprocal, MGX_floor,
        MGX_ceil, MGX_round, MGX_trunc, MGX_exp, MGX_exp2, MGX_expm1, MGX_log, MGX_log2, MGX_log10, MGX_log1p,
        MGX_sin, MGX_cos, MGX_tan, MGX_asin, MGX_acos, MGX_atan, MGX_sinh, MGX_cosh, MGX_tanh, MGX_asinh,
        MGX_acosh, MGX_atanh, MGX_erf, MGX_erfc, MGX_sigmoid, MGX_logsigmoid, MGX_logit, MGX_softplus,
        MGX_relu, MGX_relu6, MGX_leaky_relu, MGX_prelu, MGX_elu, MGX_selu, MGX_celu, MGX_gelu, MGX_gelu_tanh,
        MGX_silu, MGX_mish, MGX_softsign, MGX_hardtanh, MGX_hardsigmoid, MGX_hardswish, MGX_hardshrink,
        MGX_softshrink, MGX_tanhshrink, MGX_threshold, MGX_add, MGX_sub, MGX_mul, MGX_div, MGX_pow,
        MGX_maximum, MGX_minimum, MGX_fmod, MGX_remainder, MGX_atan2, MGX_hypot, MGX_logaddexp, MGX_xlogy,
        MGX_lerp, MGX_where, MGX_clip, MGX_gt, MGX_ge, MGX_lt, MGX_le, MGX_eq, MGX_ne, MGX_chain, MGX_dsigmoid,
        MGX_sech2, MGX_gauss, MGX_normpdf, MGX_dsilu, MGX_dgelu, MGX_dgelu_tanh, MGX_dmish

    ctypedef struct mgx_row:
        const char *name
        const char *kind
        const char *forward
        const char *derivative[3]
        int arity
        double lo, hi, ulp, dulp
    const mgx_row mgx_table[]

    ctypedef void (*mgx_loop)(Py_ssize_t n, char **p) noexcept nogil
    ctypedef struct mgx_loops:
        mgx_loop forward
        mgx_loop forward_d
        mgx_loop vjp[3]
    ctypedef void (*mgx_rule)(const double *v, int needs, double *y, double *d) noexcept nogil
    ctypedef struct mgx_part:
        Py_ssize_t n
        const char *g
        char *w
        char *state[3]
        double *step
    ctypedef void (*mgx_update)(Py_ssize_t count, const mgx_part *part, const double *cell) noexcept nogil
    ctypedef struct mgx_windows:
        Py_ssize_t size[2]
        Py_ssize_t kernel[2]
        Py_ssize_t stride[2]
        Py_ssize_t dilation[2]
        Py_ssize_t before[2]
        Py_ssize_t count[2]
    enum: MGX_TERMS, MGX_LANES, MGX_PARTS
    enum: MGX_NOTHING, MGX_SETS, MGX_ADDS
    ctypedef struct mgx_step:
        int32_t op, y, first, count
    enum: MGX_MAXOPERANDS, MGX_MAXPLACES, MGX_MAXOPS
    enum:
        MGX_LIGHT_NONE, MGX_LIGHT_ADD, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM, MGX_LIGHT_MUL, MGX_LIGHT_DIV,
        MGX_LIGHT_DIV_INTO, MGX_LIGHT_CHAIN, MGX_LIGHT_CHAIN_INTO, MGX_LIGHT_NEG, MGX_LIGHT_SQUARE, MGX_LIGHT_RELU
    ctypedef struct mgx_op:
        mgx_loop loop
        const char *name
        uint8_t arg[6]
        uint8_t result, streak, code, with_ "with", keep, from_ "from"
    ctypedef Py_ssize_t (*mgx_streak)(Py_ssize_t n, const mgx_op *op, char *const *place) noexcept nogil
    ctypedef struct mgx_operand:
        int dtype, absent
        Py_ssize_t strides[8]
        double number
    ctypedef struct mgx_launch:
        int dtype, nin, nout, ndim, count, places
        Py_ssize_t shape[8]
        mgx_streak streak
        mgx_op op[32]
        mgx_operand operand[16]
    ctypedef struct mgx_tape:
        Py_ssize_t lanes
        const int32_t *place
        const uint8_t *mode
        double *number
        double *scalar
        double *dscalar
        double *row
        double *drow
        double *spare
        int careful
    ctypedef struct mgx_kernels:
        const char *isa
        mgx_loops rows[2][1]
        mgx_rule rules[1]
        mgx_streak streak[2]
        void (*sum[2])(Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                       double scale, const char *x, char *y) noexcept nogil
        void (*max[2])(Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                       double sign, const char *x, char *y) noexcept nogil
        int (*finite[2])(Py_ssize_t n, const char *x) noexcept nogil
        void (*softmax[2])(Py_ssize_t m, Py_ssize_t n, int logarithm, const char *x, char *y) noexcept nogil
        void (*softmax_vjp[2])(Py_ssize_t m, Py_ssize_t n, int logarithm, const char *g, const char *y,
                               char *dx) noexcept nogil
        Py_ssize_t (*add_rows[2])(Py_ssize_t m, Py_ssize_t n, Py_ssize_t rows, const int64_t *at, const char *x,
                                  char *y) noexcept nogil
        Py_ssize_t (*cross_entropy[2])(Py_ssize_t m, Py_ssize_t n, double scale, const char *x,
                                       const int64_t *label, char *loss, char *p) noexcept nogil
        void (*cross_entropy_vjp[2])(Py_ssize_t m, Py_ssize_t n, double scale, const char *g, const char *p,
                                     const int64_t *label, char *dx) noexcept nogil
        mgx_update update[5][2]
        int (*gemm[2])(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
                       const char *a, Py_ssize_t a_row, Py_ssize_t a_col,
                       const char *b, Py_ssize_t b_row, Py_ssize_t b_col,
                       double beta, char *c, Py_ssize_t ldc) noexcept nogil
        void (*columns[2])(const mgx_windows *v, Py_ssize_t planes, const char *x, char *cols) noexcept nogil
        void (*uncolumns[2])(const mgx_windows *v, Py_ssize_t planes, Py_ssize_t spread,
                             const char *cols, char *x) noexcept nogil
        void (*pool_sum[2])(const mgx_windows *v, Py_ssize_t planes, const char *x, char *y) noexcept nogil
        Py_ssize_t (*pool_max[2])(const mgx_windows *v, Py_ssize_t planes,
                                  const char *x, char *y, int64_t *at) noexcept nogil
        void (*unpool[2])(Py_ssize_t planes, Py_ssize_t plane, Py_ssize_t n,
                          const char *g, const int64_t *at, char *x) noexcept nogil
        void (*norm[2])(Py_ssize_t m, Py_ssize_t n, int centred, double eps,
                        const char *x, const char *w, const char *b, char *y, char *stats) noexcept nogil
        void (*norm_vjp[2])(Py_ssize_t m, Py_ssize_t n, int centred, const char *g, const char *x, const char *w,
                            const char *stats, char *dx) noexcept nogil
        void (*norm_weight_vjp[2])(Py_ssize_t m, Py_ssize_t n, const char *g, const char *x, const char *stats,
                                   char *part) noexcept nogil
        void (*replay)(const mgx_tape *tape, Py_ssize_t count, const mgx_step *step) noexcept nogil
        void (*replay_vjp)(const mgx_tape *tape, Py_ssize_t count, const mgx_step *step) noexcept nogil
        void (*replay_rows)(const mgx_tape *tape, Py_ssize_t count, const mgx_step *step) noexcept nogil
        void (*replay_rows_vjp)(const mgx_tape *tape, Py_ssize_t count, const mgx_step *step) noexcept nogil
    const mgx_kernels *mgx_dispatch()
    void mgx_prepare(mgx_launch *launch)
    void mgx_execute(const mgx_launch *launch, char *const *data)
    void mgx_loop_over(mgx_loop loop, Py_ssize_t n, int dtype, int count, char *const *p)
    int mgx_threads(int count)


# What the texts of a row say, read once at import.
cdef struct Facts:
    int arity
    bint stores                 # the local derivative is stored by the forward pass (D and H rows)
    bint compares               # the result is a mask
    int names[3]                # operands named by derivative i: bit k for operand k, bit 3 for y
    bint identity[3]            # derivative i is K(1)

cdef const mgx_kernels *kernels
cdef const mgx_row *rows
cdef Facts *facts
cdef void (*prepare)(mgx_launch *launch) noexcept nogil
cdef void (*execute)(const mgx_launch *launch, char *const *data) noexcept nogil
cdef void (*loop_over)(mgx_loop loop, Py_ssize_t n, int dtype, int count, char *const *p) noexcept nogil
cpdef int opcode(str name) except -1
