/* Bytes as they are, for one dtype and ISA. */
static ptrdiff_t V(copy)(const char *x, char *y, ptrdiff_t n)
{
    memmove(y, x, n);
    return MGX_DONE;
}

static ptrdiff_t V(constant)(const char *x, char *y, ptrdiff_t n)
{
    memmove(y, x, n);
    return MGX_DONE;
}
