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

/* lower = L with L L^T the Gram matrix of signs * rows, and its inverse, 0 for rows that are 0. */
void NAME(factor)(const REAL *rows, const double *signs, int64_t streams, int64_t n, int64_t width,
                  double jitter, double *lower, double *inverse, double *lengths)
{
#pragma omp parallel for schedule(static) if (streams * n * n * width > 65536)
    for (int64_t s = 0; s < streams; s++) {
        double *l = lower + s * n * n, *v = inverse + s * n * n, *length = lengths + s * n;
        memset(v, 0, (size_t)(n * n) * sizeof(double));
        NAME(products)(rows + s * n * width, n, rows + s * n * width, n, width, 1, l);
        for (int64_t a = 0; a < n; a++)
            length[a] = sqrt(l[a * n + a]);
        for (int64_t a = 0; a < n; a++) /* rows of length 1, with their signs */
            for (int64_t b = 0; b <= a; b++) {
                double scale = length[a] * length[b] * (signs ? signs[a] * signs[b] : 1);
                l[a * n + b] = (scale != 0 ? l[a * n + b] / scale : 0) + (a == b ? jitter : 0);
            }
        for (int64_t a = 0; a < n; a++) /* Cholesky */
            for (int64_t b = 0; b <= a; b++) {
                double sum = l[a * n + b];
                for (int64_t c = 0; c < b; c++)
                    sum -= l[a * n + c] * l[b * n + c];
                l[a * n + b] = a == b ? sqrt(sum) : sum / l[b * n + b];
            }
        for (int64_t b = 0; b < n; b++) /* its inverse, column by column */
            for (int64_t a = b; a < n; a++) {
                double sum = a == b ? 1 : 0;
                for (int64_t c = b; c < a; c++)
                    sum -= l[a * n + c] * v[c * n + b];
                v[a * n + b] = sum / l[a * n + a];
            }
        for (int64_t a = 0; a < n; a++)
            for (int64_t b = 0; b < n; b++) {
                l[a * n + b] = b <= a ? l[a * n + b] * length[a] : 0;
                v[a * n + b] = length[b] > 0 ? v[a * n + b] / length[b] : 0;
            }
    }
}

/* out (streams, q, i) = a sample of D X given S = A X^T, see Known.product. */
void NAME(product)(const REAL *left, const double *left_signs, const double *root, const REAL *rows,
                   const double *signs, const double *inverse, const double *jitter,
                   const REAL *normals, const REAL *free, const REAL *residual, int64_t streams,
                   int64_t q, int64_t n, int64_t o, int64_t width, REAL *out)
{
#pragma omp parallel for schedule(static) if (streams * q * n * width > 65536)
    for (int64_t s = 0; s < streams; s++) {
        const REAL *u = free + s * q * width, *a = rows + s * n * width;
        const double *m = root + s * q * q, *t = inverse + s * n * n;
        double told[FEW * FEW], guessed[FEW * FEW], mixed[FEW * FEW];
        NAME(products)(left + s * q * o, q, normals + s * n * o, n, o, 0, told);
        NAME(products)(u, q, a, n, width, 0, guessed);
        for (int64_t r = 0; r < q; r++)
            for (int64_t j = 0; j < n; j++) {
                told[r * n + j] *= left_signs ? left_signs[r] : 1;
                guessed[r * n + j] *= signs ? signs[j] : 1;
                guessed[r * n + j] += (double)residual[(s * q + r) * n + j] * jitter[s * n + j];
            }
        for (int64_t r = 0; r < q; r++) /* root @ guessed */
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t c = 0; c <= r; c++)
                    sum += m[r * q + c] * guessed[c * n + j];
                mixed[r * n + j] = sum;
            }
        for (int64_t r = 0; r < q; r++) /* told - mixed @ inverse^T */
            for (int64_t j = 0; j < n; j++)
                for (int64_t c = 0; c <= j; c++)
                    told[r * n + j] -= mixed[r * n + c] * t[j * n + c];
        for (int64_t r = 0; r < q; r++) { /* root @ free + weights @ rows */
            REAL *to = out + (s * q + r) * width;
            for (int64_t i = 0; i < width; i++)
                to[i] = (REAL)m[r * q] * u[i];
            for (int64_t c = 1; c <= r; c++) {
                REAL by = (REAL)m[r * q + c];
                for (int64_t i = 0; i < width; i++)
                    to[i] += by * u[c * width + i];
            }
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t c = j; c < n; c++)
                    sum += told[r * n + c] * t[c * n + j];
                REAL by = (REAL)(signs ? sum * signs[j] : sum);
                for (int64_t i = 0; i < width; i++)
                    to[i] += by * a[j * width + i];
            }
        }
    }
}
