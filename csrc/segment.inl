/* Nodes of Values that one node stands for: a recorded call, forward and back. Each is an operation on numbers alone,
   and gradients are added up in the order of the nodes, so the bits are those of the nodes themselves. Numbers have
   negative indices and leaves the first from 0 on, so every operand is y[index]; nobody reads what the chain rule adds
   at a number. */

/* x, or 0 where it is off: without a branch, as nobody can predict which units are off */
static inline double unless(int off, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof x);
    bits &= (uint64_t)off - 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Four chains of n operands: an addition waits for the one before it, so one chain alone leaves most units idle. */
static inline void four_chains(const mgx_segment *t, const int32_t *i, ptrdiff_t n, const double *y, double *node)
{
    const int32_t *a = t->operand + t->first[i[0]], *b = t->operand + t->first[i[1]];
    const int32_t *c = t->operand + t->first[i[2]], *d = t->operand + t->first[i[3]];
    double p = y[a[0]] * y[a[1]], q = y[b[0]] * y[b[1]], r = y[c[0]] * y[c[1]], s = y[d[0]] * y[d[1]];
    for (ptrdiff_t k = 2; k < n; k += 2) {
        p += y[a[k]] * y[a[k + 1]];
        q += y[b[k]] * y[b[k + 1]];
        r += y[c[k]] * y[c[k + 1]];
        s += y[d[k]] * y[d[k + 1]];
    }
    node[i[0]] = p, node[i[1]] = q, node[i[2]] = r, node[i[3]] = s;
}

static void segment(const mgx_segment *t, double *y, double *derivative)
{
    double *node = y + t->leaves;
    for (ptrdiff_t j = 0; j < t->nodes; j++) {
        const ptrdiff_t i = t->order[j];
        const int32_t *o = t->operand + t->first[i];
        const ptrdiff_t n = t->first[i + 1] - t->first[i];
        if (t->op[i] == MGX_CHAIN) {
            if (t->alike[j] >= 4) {
                four_chains(t, t->order + j, n, y, node);
                j += 3;
                continue;
            }
            double total = y[o[0]] * y[o[1]];
            for (ptrdiff_t k = 2; k < n; k += 2)
                total += y[o[k]] * y[o[k + 1]];
            node[i] = total;
        } else if (t->op[i] == MGX_mul)
            node[i] = y[o[0]] * y[o[1]];
        else if (t->op[i] == MGX_add)
            node[i] = y[o[0]] + y[o[1]];
        else if (t->op[i] == MGX_relu)
            node[i] = unless(y[o[0]] <= 0, y[o[0]]);
        else if (t->op[i] >= 0) {
            double x[3] = {0, 0, 0}, *d = derivative + t->first[i];
            for (ptrdiff_t k = 0; k < n; k++)
                x[k] = d[k] = y[o[k]];
            TABLE.rules[t->op[i]](x, t->needs[i], &node[i], d);
        } else if (t->op[i] == MGX_LEAF)
            node[i] = y[o[0]];
        else {
            double total = n ? -0.0 : 0.0;
            const double weight = t->op[i] == MGX_MEAN && n ? 1.0 / n : 1;
            if (t->op[i] == MGX_DOT)
                for (ptrdiff_t k = 0; k < n; k += 2)
                    total += y[o[k + 1]] * y[o[k]];
            else
                for (ptrdiff_t k = 0; k < n; k++)
                    total += weight * y[o[k]];
            node[i] = total;
        }
    }
}

/* Adds to g, which is indexed as y is: the gradients of the leaves as they are, of the nodes 0, of the last 1 or what
   arrives there. */
static void segment_vjp(const mgx_segment *t, const double *y, const double *derivative, double *g)
{
    for (ptrdiff_t i = t->nodes - 1; i >= 0; i--) {
        const int32_t *o = t->operand + t->first[i];
        const ptrdiff_t n = t->first[i + 1] - t->first[i];
        const double received = g[t->leaves + i];
        if (received == 0 || t->op[i] == MGX_LEAF)
            continue;
        if (t->op[i] == MGX_CHAIN)                  /* factors are numbers of Values, none of which is MGX_NONE */
            for (ptrdiff_t k = n - 2; k >= 0; k -= 2) {
                g[o[k]] += y[o[k + 1]] * received;
                g[o[k + 1]] += y[o[k]] * received;
            }
        else if (t->op[i] == MGX_mul || t->op[i] == MGX_DOT)
            for (ptrdiff_t k = 0; k < n; k += 2) {
                g[o[k]] += mgx_times(y[o[k + 1]], received);
                g[o[k + 1]] += mgx_times(y[o[k]], received);
            }
        else if (t->op[i] == MGX_add) {
            g[o[0]] += received;
            g[o[1]] += received;
        } else if (t->op[i] == MGX_relu)
            g[o[0]] += unless(y[t->leaves + i] <= 0, received);
        else if (t->op[i] >= 0)
            for (ptrdiff_t k = 0; k < n; k++)
                g[o[k]] += mgx_times(derivative[t->first[i] + k], received);
        else
            for (ptrdiff_t k = 0; k < n; k++)
                g[o[k]] += mgx_times(t->op[i] == MGX_MEAN ? 1.0 / n : 1, received);
    }
}
