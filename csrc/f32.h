/* From here on the dtype is float: what the .inl files call it. */
#undef REAL
#undef BITS
#undef MANTISSA
#undef SUFFIX
#undef DTYPE
#undef TRIG_MAX
#define REAL float
#define BITS uint32_t
#define MANTISSA 23
#define SUFFIX f32
#define DTYPE MGX_F32
#define TRIG_MAX TRIG_MAX_F32
#include "words.inl"
