/* The rows as data. The first macro turns each expression into its text. */
#include "kernels.h"

const mgx_row mgx_table[MGX_NROWS] = {
#define U(name, f, d, lo, hi, ulp, dulp) {#name, "U", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp},
#define D(name, f, d, lo, hi, ulp, dulp) {#name, "D", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp},
#define H(name, f, d, lo, hi, ulp, dulp) {#name, "H", #f, {#d, 0, 0}, 1, lo, hi, ulp, dulp},
#define B(name, f, da, db, lo, hi, ulp, dulp) {#name, "B", #f, {#da, #db, 0}, 2, lo, hi, ulp, dulp},
#define T(name, f, da, db, dc, lo, hi, ulp, dulp) {#name, "T", #f, {#da, #db, #dc}, 3, lo, hi, ulp, dulp},
#define C(name, f, lo, hi) {#name, "C", #f, {"K(0)", "K(0)", 0}, 2, lo, hi, 0, 0},
#include "ops.def"
};
