/* From here on the dtype is double: what the .inl files call it. */
#undef REAL
#undef BITS
#undef MANTISSA
#undef SUFFIX
#undef DTYPE
#undef TRIG_MAX
#define REAL double
#define BITS uint64_t
#define MANTISSA 52
#define SUFFIX f64
#define DTYPE MGX_F64
#define TRIG_MAX TRIG_MAX_F64
#include "words.inl"
