/* What every processor of the target runs (on x86-64: SSE2). */
#define ISA baseline
#define ISA_NAME "baseline"
#include "isa.inl"
