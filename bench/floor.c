/* One training step of a multilayer perceptron, by hand: forward, backward and SGD update in one call.
 *
 * The floor that bench_train compares with: no graph, no allocation, no dispatch. Layers are sigmoid, the last
 * one linear; the cost is the mean squared error or softmax + cross-entropy, a mean over the batch. All
 * matrices are row-major: x (batch, n0), W[l] (n[l], n[l+1]), b[l] (n[l+1]); params = W0 b0 W1 b1 ...
 * The update is folded into the weight-gradient GEMM (W += -lr a^T d), which is legal because the delta of
 * the layer below has read W before. GEMM comes from outside, as the Fortran pointer to sgemm.
 */
#include <math.h>
#include <stdint.h>
#include "floor_gemm.h"

typedef void sgemm_fn(const char *ta, const char *tb, const int *m, const int *n, const int *k, const float *alpha,
                      const float *a, const int *lda, const float *b, const int *ldb, const float *beta,
                      float *c, const int *ldc);
enum { MSE = 0, CROSS_ENTROPY = 1 };

/* exp(x) for x clamped to [-87, 88]. x = k ln2 + r with |r| <= ln2/2, exp(r) by its Taylor polynomial of
 * degree 7 (remainder 5e-9 relative). Measured: 0.93 ulp, its sigmoid 2.5. Rounding by adding 1.5 * 2^23. */
static inline float exp_poly(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f;
    float k = shifted - 12582912.0f;
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union { float f; int32_t i; } bits = {.f = shifted}, scale;
    scale.i = (int32_t)((uint32_t)(bits.i + 127) << 23);
    return p * scale.f;
}

/* C (m, n) = alpha op(A) op(B) + beta C, all row-major. BLAS, whose Fortran sees the transposes, so that B comes
 * first; our own loops where they were measured to be faster. */
static void gemm(sgemm_fn *sgemm, int ta, int tb, int m, int n, int k, float alpha, const float *a, const float *b,
                 float beta, float *c)
{
    int lda = ta ? m : k, ldb = tb ? k : n;
    double work = (double)m * n * k;            /* the rule: measured on Zen 3 against OpenBLAS 0.3.30 */
    int full = n == 16 || n >= 24;              /* narrower panels waste half of a vector */
    int small = work <= 2e4 || (full && work <= 1e6);
    if (small && n >= 8)
        small_gemm(m, n, k, alpha, a, ta ? 1 : k, ta ? m : 1, b, tb ? 1 : n, tb ? k : 1, beta != 0.0f, c);
    else if (small && n == 1 && ta && m >= 8)       /* C^T (1, m) = B^T (1, k) A (k, m) */
        small_gemm(1, m, k, alpha, b, 1, 1, a, m, 1, beta != 0.0f, c);
    else if (small && n == 1 && !ta && alpha == 1.0f && beta == 0.0f)
        matrix_vector(m, k, a, b, c);
    else
        sgemm(tb ? "T" : "N", ta ? "T" : "N", &n, &m, &k, &alpha, b, &ldb, a, &lda, &beta, c, &n);
}

/* z (rows, n) += b (n) */
static void add_bias(int rows, int n, float *restrict z, const float *restrict b)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < n; j++)
            z[(size_t)i * n + j] += b[j];
}

/* z = sigmoid(z) */
static void sigmoid(size_t n, float *restrict z)
{
    for (size_t i = 0; i < n; i++)
        z[i] = 1.0f / (1.0f + exp_poly(-z[i]));
}

/* d *= a (1 - a) */
static void sigmoid_vjp(size_t n, float *restrict d, const float *restrict a)
{
    for (size_t i = 0; i < n; i++)
        d[i] *= a[i] * (1.0f - a[i]);
}

/* b (n) -= lr * column sums of d (rows, n) */
static void update_bias(int rows, int n, float *restrict b, const float *restrict d, float lr)
{
    for (int j0 = 0; j0 < n; j0 += 32) {
        float sum[32] = {0};
        int width = n - j0 < 32 ? n - j0 : 32;
        if (width == 32)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < 32; j++)
                    sum[j] += d[(size_t)i * n + j0 + j];
        else
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < width; j++)
                    sum[j] += d[(size_t)i * n + j0 + j];
        for (int j = 0; j < width; j++)
            b[j0 + j] -= lr * sum[j];
    }
}

/* loss = mean (z - t)^2; z becomes its gradient */
static float mse(size_t n, float *restrict z, const float *restrict t)
{
    float loss = 0.0f, scale = 2.0f / n;
#pragma omp simd reduction(+ : loss)
    for (size_t i = 0; i < n; i++) {
        float e = z[i] - t[i];
        loss += e * e;
        z[i] = scale * e;
    }
    return loss / n;
}

/* loss = mean over rows of log(sum exp z) - z[label]; z (rows, n) becomes (softmax(z) - onehot) / rows */
static float cross_entropy(int rows, int n, float *restrict z, const int64_t *restrict label)
{
    float loss = 0.0f, scale = 1.0f / rows;
    for (int i = 0; i < rows; i++) {
        float *row = z + (size_t)i * n, top = row[0];
#pragma omp simd reduction(max : top)
        for (int j = 0; j < n; j++)
            top = row[j] > top ? row[j] : top;
        for (int j = 0; j < n; j++)
            row[j] -= top;
        loss -= row[label[i]];
    }
    for (size_t i = 0; i < (size_t)rows * n; i++)
        z[i] = exp_poly(z[i]);
    for (int i = 0; i < rows; i++) {
        float *row = z + (size_t)i * n, sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < n; j++)
            sum += row[j];
        loss += logf(sum);
        float factor = scale / sum;
        for (int j = 0; j < n; j++)
            row[j] *= factor;
        row[label[i]] -= scale;
    }
    return loss * scale;
}

/* Everything a step needs, so that a call from Python carries one pointer. sizes has layers + 1 entries;
 * work holds batch * (sum of sizes[1..] + 2 * widest hidden) floats. */
struct mlp {
    sgemm_fn *sgemm;
    const int *sizes;
    const float *x;
    const void *target;
    float *params, *work;
    int layers, batch, cost;
    float lr;
};

/* One step; returns the loss before the update. */
float mlp_step(const struct mlp *net)
{
    sgemm_fn *sgemm = net->sgemm;
    const int *sizes = net->sizes, layers = net->layers, batch = net->batch;
    float *params = net->params, *work = net->work, lr = net->lr;
    float *weight[64], *bias[64], *a[65], *spare[2];
    int widest = 0;
    a[0] = (float *)net->x;
    for (int l = 0; l < layers; l++) {
        int in = sizes[l], out = sizes[l + 1];
        weight[l] = params, bias[l] = params + (size_t)in * out, params = bias[l] + out;
        a[l + 1] = work, work += (size_t)batch * out;
        if (l && in > widest)
            widest = in;
    }
    spare[0] = work, spare[1] = work + (size_t)batch * widest;

    for (int l = 0; l < layers; l++) {
        int in = sizes[l], out = sizes[l + 1];
        gemm(sgemm, 0, 0, batch, out, in, 1.0f, a[l], weight[l], 0.0f, a[l + 1]);
        add_bias(batch, out, a[l + 1], bias[l]);
        if (l < layers - 1)
            sigmoid((size_t)batch * out, a[l + 1]);
    }

    float *d = a[layers];
    float loss = net->cost == MSE ? mse((size_t)batch * sizes[layers], d, net->target)
                                  : cross_entropy(batch, sizes[layers], d, net->target);

    for (int l = layers - 1; l >= 0; l--) {
        int in = sizes[l], out = sizes[l + 1];
        float *below = spare[l & 1];
        if (l) {                            /* (batch, in) = d (batch, out) @ W^T (out, in) */
            gemm(sgemm, 0, 1, batch, in, out, 1.0f, d, weight[l], 0.0f, below);
            sigmoid_vjp((size_t)batch * in, below, a[l]);
        }
        gemm(sgemm, 1, 0, in, out, batch, -lr, a[l], d, 1.0f, weight[l]);
        update_bias(batch, out, bias[l], d, lr);
        d = below;
    }
    return loss;
}

/* One step of Adam on n parameters in place, the moments corrected for their start. */
void adam_step(size_t n, float *restrict w, const float *restrict g, float *restrict m, float *restrict v, int step)
{
    const float first = 0.9f, second = 0.999f, rate = 1e-3f / (1.0f - powf(first, step));
    const float root = 1.0f / sqrtf(1.0f - powf(second, step));
    for (size_t i = 0; i < n; i++) {
        m[i] = first * m[i] + (1.0f - first) * g[i];
        v[i] = second * v[i] + (1.0f - second) * g[i] * g[i];
        w[i] -= rate * m[i] / (sqrtf(v[i]) * root + 1e-8f);
    }
}
