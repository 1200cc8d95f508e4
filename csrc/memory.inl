/* Bytes as they are, and one word for all, for one dtype and ISA. */
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

static ptrdiff_t V(fill)(ptrdiff_t first, ptrdiff_t last, char *y, ptrdiff_t n, ptrdiff_t width, ptrdiff_t word)
{
    const ptrdiff_t from = first * PAGE, to = last * PAGE < n ? last * PAGE : n;
    const int64_t bits = word;
    if (width == 1)
        memset(y + from, (int)bits, to - from);
    else
        for (ptrdiff_t i = from; i < to; i += 8)
            memcpy(y + i, &bits, 8);
    return MGX_DONE;
}
