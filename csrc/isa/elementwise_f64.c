/* The loops over the rows of the table. */
#include "isa.h"
#ifdef ISA
#include "f64.h"
#include "elementwise.inl"

ENTER(elementwise_f64) { memcpy(k->rows[MGX_F64], rows_f64, sizeof rows_f64); }
#endif
