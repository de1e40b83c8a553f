/* A few long rows at a time, for REAL = float or double: what _gram.py does in torch operations. */

/* four[j] = <x, y + j * stride>, the last `valid` of them meaningful, in double precision. */
static inline void NAME(dots)(const REAL *x, const REAL *y, int64_t stride, int64_t valid,
                              int64_t width, double *four)
{
    const REAL *y1 = valid > 1 ? y + stride : y, *y2 = valid > 2 ? y1 + stride : y;
    const REAL *y3 = valid > 3 ? y2 + stride : y;
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < width; i++) {
        double v = x[i];
        s0 += v * y[i], s1 += v * y1[i], s2 += v * y2[i], s3 += v * y3[i];
    }
    four[0] = s0, four[1] = s1, four[2] = s2, four[3] = s3;
}

/* out[a][b] = <x[a], y[b]>; only b <= a where `lower`. */
static void NAME(products)(const REAL *x, int64_t p, const REAL *y, int64_t n, int64_t width,
                           int lower, double *out)
{
    for (int64_t a = 0; a < p; a++)
        for (int64_t b = 0; b < n && (!lower || b <= a); b += 4) {
            double four[4];
            NAME(dots)(x + a * width, y + b * width, width, n - b, width, four);
            for (int64_t c = b; c < b + 4 && c < n; c++)
                out[a * n + c] = four[c - b];
        }
}

/* The first `count` normals of a stream. */
static inline void NAME(normals)(Stream stream, int64_t count, REAL *out)
{
    int64_t at = 0;
    for (; at + SIZE <= count; at += SIZE)
        GROUP((uint64_t)(at / SIZE), stream, out + at);
    if (at < count) {
        REAL part[SIZE];
        GROUP((uint64_t)(at / SIZE), stream, part);
        memcpy(out + at, part, (size_t)(count - at) * sizeof(REAL));
    }
}

/* What the rows are multiplied by, so that their squares neither underflow nor overflow. Only rows of
   float64 can do so: out of range of l, their plain Gram matrix, or 0, which may be an underflow. */
static int NAME(scales)(const REAL *rows, int64_t n, int64_t width, const double *l, double *scale)
{
    int extreme = 0;
    for (int64_t a = 0; a < n; a++) {
        scale[a] = 1;
        if (sizeof(REAL) == 4 || (l[a * n + a] > 1e-250 && l[a * n + a] < 1e250))
            continue;
        double most = 0;
        for (int64_t i = 0; i < width; i++)
            most = fabs((double)rows[a * width + i]) > most ? fabs((double)rows[a * width + i]) : most;
        scale[a] = most >= DBL_MIN ? 1 / most : 0;
        extreme = 1;
    }
    return extreme;
}

/* l = U, the root of the Gram matrix of signs * rows scaled to length 1, and the rows' lengths. */
static void NAME(root)(const REAL *rows, const double *signs, int64_t n, int64_t width,
                       double jitter, double *l, double *length)
{
    double scale[FEW];
    NAME(products)(rows, n, rows, n, width, 1, l);
    if (NAME(scales)(rows, n, width, l, scale))
        for (int64_t a = 0; a < n; a++)
            for (int64_t b = 0; b <= a; b++) {
                double sum = 0;
                for (int64_t i = 0; i < width; i++)
                    sum += rows[a * width + i] * scale[a] * (rows[b * width + i] * scale[b]);
                l[a * n + b] = sum;
            }
    for (int64_t a = 0; a < n; a++)
        length[a] = sqrt(l[a * n + a]);
    for (int64_t a = 0; a < n; a++) /* rows of length 1, with their signs */
        for (int64_t b = 0; b <= a; b++) {
            double by = length[a] * length[b] * (signs ? signs[a] * signs[b] : 1);
            l[a * n + b] = (by != 0 ? l[a * n + b] / by : a == b) + (a == b ? jitter : 0);
        }
    for (int64_t a = 0; a < n; a++)
        length[a] = scale[a] != 0 ? length[a] / scale[a] : 0;
    for (int64_t a = 0; a < n; a++) /* Cholesky */
        for (int64_t b = 0; b <= a; b++) {
            double sum = l[a * n + b];
            for (int64_t c = 0; c < b; c++)
                sum -= l[a * n + c] * l[b * n + c];
            l[a * n + b] = a == b ? sqrt(sum) : sum / l[b * n + b];
        }
    for (int64_t a = 0; a < n; a++)
        for (int64_t b = a + 1; b < n; b++)
            l[a * n + b] = 0;
}

/* v = the inverse of U, 0 for rows that are 0. */
static void NAME(invert)(const double *l, const double *length, int64_t n, double *v)
{
    memset(v, 0, (size_t)(n * n) * sizeof(double));
    for (int64_t b = 0; b < n; b++)
        for (int64_t a = b; a < n && length[b] > 0; a++) {
            double sum = a == b ? 1 : 0;
            for (int64_t c = b; c < a; c++)
                sum -= l[a * n + c] * v[c * n + b];
            v[a * n + b] = length[a] > 0 ? sum / l[a * n + a] : 0;
        }
}

/* The factors of Gram matrices of rows (streams, n, width). */
void NAME(factor)(const REAL *rows, const double *signs, int64_t streams, int64_t n, int64_t width,
                  double jitter, double *lower, double *inverse, double *lengths)
{
#pragma omp parallel for schedule(static) if (streams * n * n * width > 65536)
    for (int64_t s = 0; s < streams; s++) {
        NAME(root)(rows + s * n * width, signs, n, width, jitter, lower + s * n * n, lengths + s * n);
        NAME(invert)(lower + s * n * n, lengths + s * n, n, inverse + s * n * n);
    }
}

/* to (n, o) += a bias (o), perturbed once for each sample of a stream; a second one's sign is turned. */
static void NAME(add_bias)(const REAL *bias, const REAL *bias_scale, double bias_sigma, Stream stream,
                           int64_t n, int64_t each, int64_t o, REAL *to)
{
    const REAL by = (REAL)(bias_sigma * (bias_scale ? *bias_scale : 1));
    for (int64_t from = 0; from < o; from += SIZE) {
        int64_t count = o - from < SIZE ? o - from : SIZE;
        REAL part[SIZE];
        GROUP((uint64_t)(from / SIZE), stream, part);
        for (int64_t r = 0; r < n; r++) {
            REAL *at = to + r * o + from, turned = r / each % 2 ? -by : by;
            for (int64_t i = 0; i < count; i++)
                at[i] += bias[from + i] + turned * part[i];
        }
    }
}

/* noisy (streams, n, o) = sigma * scale * L Z + the perturbed bias, if any, with the factors and Z
   (streams, n, o). The rows may be the same for all streams: then there is one factor. A sample has
   `each` rows. */
void NAME(forward)(const REAL *rows, const double *signs, int64_t streams, int64_t factors, int64_t n,
                   int64_t width, int64_t o, double jitter, uint64_t key, uint32_t role,
                   double sigma, const REAL *scale, const REAL *bias, const REAL *bias_scale,
                   double bias_sigma, uint64_t bias_key, uint32_t bias_role, int64_t each,
                   double *lower, double *inverse, double *lengths, REAL *normals, REAL *noisy)
{
    NAME(factor)(rows, signs, factors, n, width, jitter, lower, inverse, lengths);
#pragma omp parallel for schedule(static) if (streams * n * o > 16384)
    for (int64_t s = 0; s < streams; s++) {
        const int64_t f = factors > 1 ? s : 0;
        const double *l = lower + f * n * n;
        REAL *z = normals + s * n * o;
        NAME(normals)(STREAM(key, s, role), n * o, z);
        for (int64_t r = 0; r < n; r++) {
            REAL *to = noisy + (s * n + r) * o;
            for (int64_t c = 0; c <= r; c++) {
                REAL by = (REAL)(sigma * lengths[f * n + r] * l[r * n + c]);
                for (int64_t i = 0; i < o; i++)
                    to[i] = (c ? to[i] : 0) + by * z[c * o + i];
            }
            for (int64_t i = 0; scale && i < o; i++)
                to[i] *= scale[i];
        }
        if (bias)
            NAME(add_bias)(bias, bias_scale, bias_sigma, STREAM(bias_key, s, bias_role), n, each, o,
                           noisy + s * n * o);
    }
}

/* out (q, width) += weights (q, n) @ (scale * rows) (n, width), in double precision: large weights
   may cancel. */
static void NAME(add)(const double *weights, const double *scale, const REAL *rows, int64_t q,
                      int64_t n, int64_t width, REAL *out)
{
    for (int64_t from = 0; from < width; from += PIECE)
        for (int64_t r = 0; r < q; r += 2) { /* two rows at a time */
            int64_t count = width - from < PIECE ? width - from : PIECE, other = r + 1 < q ? n : 0;
            double sum[PIECE] = {0}, next[PIECE] = {0};
            const double *w = weights + r * n;
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < count; i++) {
                    double value = scale[j] * rows[j * width + from + i];
                    sum[i] += w[j] * value;
                    next[i] += w[other + j] * value;
                }
            for (int64_t i = 0; i < count; i++)
                out[r * width + from + i] += (REAL)sum[i];
            for (int64_t i = 0; other && i < count; i++)
                out[(r + 1) * width + from + i] += (REAL)next[i];
        }
}

/* out (streams, q, width) = a sample of D X given S = A X^T, see Known.product. */
void NAME(backward)(const REAL *left, const double *left_signs, const REAL *rows,
                    const double *signs, const double *inverse, const double *lengths,
                    const REAL *normals, int64_t streams, int64_t q, int64_t n, int64_t o,
                    int64_t width, double jitter, double spread, uint64_t key, uint32_t role,
                    uint32_t role_residue, REAL *out)
{
#pragma omp parallel for schedule(static) if (streams * q * (q * o + n * width) > 16384)
    for (int64_t s = 0; s < streams; s++) {
        const REAL *a = rows + s * n * width;
        const double *t = inverse + s * n * n;
        double m[FEW * FEW], length[FEW], unsize[FEW], observed[FEW * FEW], predicted[FEW * FEW], mixed[FEW * FEW];
        REAL *u = out + s * q * width, extra[FEW * FEW]; /* U, then the result in its place */
        NAME(root)(left + s * q * o, left_signs, q, o, jitter, m, length);
        NAME(normals)(STREAM(key, s, role), q * width, u);
        NAME(normals)(STREAM(key, s, role_residue), q * n, extra);
        for (int64_t j = 0; j < n; j++) /* of a row to length 1, with its sign */
            unsize[j] = lengths[s * n + j] > 0 ? (signs ? signs[j] : 1) / lengths[s * n + j] : 0;
        NAME(products)(left + s * q * o, q, normals + s * n * o, n, o, 0, observed);
        NAME(products)(u, q, a, n, width, 0, predicted);
        for (int64_t r = 0; r < q; r++)
            for (int64_t j = 0; j < n; j++) {
                observed[r * n + j] *= left_signs ? left_signs[r] : 1;
                predicted[r * n + j] *= unsize[j];
                predicted[r * n + j] += (double)extra[r * n + j] * spread;
            }
        for (int64_t r = 0; r < q; r++) /* root @ predicted */
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t c = 0; c <= r; c++)
                    sum += m[r * q + c] * predicted[c * n + j];
                mixed[r * n + j] = sum * length[r];
            }
        for (int64_t r = 0; r < q; r++) /* observed - mixed @ inverse^T */
            for (int64_t j = 0; j < n; j++)
                for (int64_t c = 0; c <= j; c++)
                    observed[r * n + j] -= mixed[r * n + c] * t[j * n + c];
        for (int64_t r = 0; r < q; r++) /* the weights of the rows */
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t c = j; c < n; c++)
                    sum += observed[r * n + c] * t[c * n + j];
                mixed[r * n + j] = sum;
            }
        for (int64_t r = q - 1; r >= 0; r--) { /* root @ free, last row first */
            REAL *to = u + r * width, own = (REAL)(length[r] * m[r * q + r]);
            for (int64_t i = 0; i < width; i++)
                to[i] *= own;
            for (int64_t c = 0; c < r; c++) {
                REAL by = (REAL)(length[r] * m[r * q + c]);
                for (int64_t i = 0; i < width; i++)
                    to[i] += by * u[c * width + i];
            }
        }
        NAME(add)(mixed, unsize, a, q, n, width, u);
    }
}
