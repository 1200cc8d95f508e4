/* How the lists of kernels.def are expanded. FOR_EACH(m, a, b, c) is m(a) m(b) m(c). */
#define FOR_EACH(m, ...) __VA_OPT__(EXPAND(FOR_EACH_ONE(m, __VA_ARGS__)))
#define FOR_EACH_ONE(m, a, ...) m(a) __VA_OPT__(FOR_EACH_AGAIN EMPTY (m, __VA_ARGS__))
#define FOR_EACH_AGAIN() FOR_EACH_ONE
#define EMPTY ()
#define EXPAND(...) EXPAND4(EXPAND4(__VA_ARGS__))
#define EXPAND4(...) EXPAND2(EXPAND2(__VA_ARGS__))
#define EXPAND2(...) EXPAND1(EXPAND1(__VA_ARGS__))
#define EXPAND1(...) __VA_ARGS__
#define UNPACKED(...) __VA_ARGS__
#define DROP_COMMA(...) DROP_FIRST(__VA_ARGS__)
#define DROP_FIRST(zero, ...) __VA_ARGS__

/* TAKE(o): a variable of the operand's, integer's or number's name, from its place in the arguments */
#define TAKE(o) TAKE_##o
#define TAKE_REALS(x, extent) void *x = args->p[operand++];
#define TAKE_OPTIONAL TAKE_REALS
#define TAKE_STRIDED TAKE_REALS
#define TAKE_FLOAT64 TAKE_REALS
#define TAKE_MAYBE64 TAKE_REALS
#define TAKE_INT64 TAKE_REALS
#define TAKE_RAW TAKE_REALS
#define TAKE_MASK TAKE_REALS
#define TAKE_INTEGER(name) const ptrdiff_t name = args->n[integer++];
#define TAKE_FLAG(name) const int name = args->n[integer++] != 0;
#define TAKE_STRIDES(name) const ptrdiff_t *name = &args->n[(integer += 3) - 3];
#define TAKE_WINDOWS(name) const mgx_windows *name = (const mgx_windows *)&args->n[(integer += 12) - 12];
#define TAKE_NUMBER(c) const double c = args->x[number++];

/* PASS(o): that variable as an argument of the body */
#define PASS(o) , NAME_##o
#define NAME_REALS(x, extent) x
#define NAME_OPTIONAL NAME_REALS
#define NAME_STRIDED NAME_REALS
#define NAME_FLOAT64 NAME_REALS
#define NAME_MAYBE64 NAME_REALS
#define NAME_INT64 NAME_REALS
#define NAME_RAW NAME_REALS
#define NAME_MASK NAME_REALS
#define NAME_INTEGER(name) name
#define NAME_FLAG NAME_INTEGER
#define NAME_STRIDES NAME_INTEGER
#define NAME_WINDOWS NAME_INTEGER
#define NAME_NUMBER NAME_INTEGER
#define PASS_SPLIT(axis, work) , first, last
#define PASS_STEP PASS_SPLIT
#define PASS_WHOLE(work)
#define PASS_SCRATCH(bytes) , scratch
#define PASS_NO_SCRATCH

/* MEASURE(o): the elements of an operand, and their type */
#define MEASURE(o) MEASURE_##o
#define MEASURE_REALS(x, extent) (void)x, to->elements[index] = (extent), to->type[index++] = MGX_OF_LAUNCH;
#define MEASURE_OPTIONAL MEASURE_REALS
#define MEASURE_STRIDED(x, extent) (void)x, to->elements[index] = (extent), to->type[index++] = MGX_OF_LAUNCH_STRIDED;
#define MEASURE_FLOAT64(x, extent) (void)x, to->elements[index] = (extent), to->type[index++] = MGX_F64;
#define MEASURE_MAYBE64 MEASURE_FLOAT64
#define MEASURE_INT64(x, extent) (void)x, to->elements[index] = (extent), to->type[index++] = MGX_I64;
#define MEASURE_RAW(x, extent) (void)x, to->elements[index] = (extent), to->type[index++] = MGX_BOOL;
#define MEASURE_MASK MEASURE_RAW
#define AXIS_SPLIT(axis, work) (axis)
#define AXIS_STEP AXIS_SPLIT
#define AXIS_WHOLE(work) 1
#define WORK_SPLIT(axis, work) (work)
#define WORK_STEP WORK_SPLIT
#define WORK_WHOLE(work) (work)
#define IS_STEADY_SPLIT(axis, work) 0
#define IS_STEADY_STEP(axis, work) 1
#define IS_STEADY_WHOLE(work) 0
#define BYTES_SCRATCH(bytes) (bytes)
#define BYTES_NO_SCRATCH 0

/* the function body and the variables of one row: everything in its lists */
#define TAKE_ALL(reads, updates, writes, integers, numbers) \
    int operand = 0, integer = 0, number = 0; \
    FOR_EACH(TAKE, UNPACKED reads) FOR_EACH(TAKE, UNPACKED updates) FOR_EACH(TAKE, UNPACKED writes) \
    FOR_EACH(TAKE, UNPACKED integers) FOR_EACH(TAKE, UNPACKED numbers) (void)operand, (void)integer, (void)number;

#ifdef MGX_CHECKED
#define CHECK_LAUNCH(name) mgx_check_launch(&mgx_kernel_table[MGX_KERNEL_##name], args, DTYPE);
#else
#define CHECK_LAUNCH(name)
#endif
