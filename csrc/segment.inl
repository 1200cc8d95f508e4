/* Nodes of Values that one node stands for: a recorded call, forward and back. Each is an operation on numbers alone,
   in the order in which the nodes were made, so the bits are those of the nodes themselves. Numbers have negative
   indices and leaves the first from 0 on, so every operand is y[index]; what the chain rule adds at a number is not
   read. */

static void segment(const mgx_segment *t, double *y, double *derivative)
{
    double *node = y + t->leaves;
    for (ptrdiff_t i = 0; i < t->nodes; i++) {
        const int32_t *o = t->operand + t->first[i];
        const ptrdiff_t n = t->first[i + 1] - t->first[i];
        if (t->op[i] == MGX_mul)
            node[i] = y[o[0]] * y[o[1]];
        else if (t->op[i] == MGX_add)
            node[i] = y[o[0]] + y[o[1]];
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
        if (t->op[i] == MGX_mul || t->op[i] == MGX_DOT)
            for (ptrdiff_t k = 0; k < n; k += 2) {
                g[o[k]] += mgx_times(y[o[k + 1]], received);
                g[o[k + 1]] += mgx_times(y[o[k]], received);
            }
        else if (t->op[i] == MGX_add) {
            g[o[0]] += received;
            g[o[1]] += received;
        } else if (t->op[i] >= 0)
            for (ptrdiff_t k = 0; k < n; k++)
                g[o[k]] += mgx_times(derivative[t->first[i] + k], received);
        else
            for (ptrdiff_t k = 0; k < n; k++)
                g[o[k]] += mgx_times(t->op[i] == MGX_MEAN ? 1.0 / n : 1, received);
    }
}
