/* Programs of scalar operations, and recorded calls of Values. */
#include "isa.h"
#ifdef ISA
#include "f64.h"
#include "replay.inl"
#include "segment.inl"

ENTER(replay)
{
    table = k;
    k->replay = replay;
    k->replay_vjp = replay_vjp;
    k->replay_rows = replay_rows;
    k->replay_rows_vjp = replay_rows_vjp;
    k->segment = segment;
    k->segment_vjp = segment_vjp;
}
#endif
