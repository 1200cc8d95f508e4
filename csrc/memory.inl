/* Bytes as they are, for one dtype and ISA. */
static ptrdiff_t V(copy)(ptrdiff_t first, ptrdiff_t last, const char *x, char *y, ptrdiff_t n)
{
    const ptrdiff_t from = first * PAGE, to = last * PAGE < n ? last * PAGE : n;
    memcpy(y + from, x + from, to - from);
    return MGX_DONE;
}

static ptrdiff_t V(constant)(ptrdiff_t first, ptrdiff_t last, const char *x, char *y, ptrdiff_t n)
{
    return V(copy)(first, last, x, y, n);
}
