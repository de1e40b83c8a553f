/* What torch has no fast operation for: the normals that _philox.py defines, and the algebra of a few
   long rows. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "philox.h"

#define CHUNK 64 /* groups of blocks per parallel task */

/* ln of a normal positive float, by the series of atanh on [sqrt(1/2), sqrt(2)). */
static inline float log_f32(float u)
{
    int32_t bits;
    memcpy(&bits, &u, 4);
    int32_t e = (bits - 0x3F3504F3) >> 23;
    bits -= e * (1 << 23);
    float m;
    memcpy(&m, &bits, 4);
    float s = (m - 1.0f) / (m + 1.0f), q = s * s;
    float series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return (float)e * 0.693147180559945f + 2.0f * s * series;
}

/* Two normals from two words: radius from the first, angle from the second. */
static inline void box_muller_f32(uint32_t a, uint32_t b, float *z0, float *z1)
{
    float u = (float)(int32_t)(a >> 1) * 0x1p-31f + 0x1p-33f;
    float r = sqrtf(-2.0f * log_f32(u < 1.0f ? u : 1.0f));
    /* The nearest quarter turn, and the angle from it, |t| <= pi/4. */
    uint32_t quarter = (b + 0x20000000u) >> 30;
    float t = (float)(int32_t)(b - (quarter << 30)) * (1.57079632679490f * 0x1p-30f), q = t * t;
    float c = 1.0f + q * (-1.0f / 2 + q * (1.0f / 24 + q * (-1.0f / 720 + q * (1.0f / 40320))));
    float s = t * (1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040))));
    float x = quarter & 1 ? s : c, y = quarter & 1 ? c : s;
    *z0 = r * ((quarter + 1) & 2 ? -x : x);
    *z1 = r * (quarter & 2 ? -y : y);
}

static inline void group_f32(uint64_t index, Stream s, float *out)
{
    uint32_t w[4][BLOCKS];
    philox(index, s, w);
    for (int j = 0; j < BLOCKS; j++)
        box_muller_f32(w[0][j], w[1][j], out + j, out + BLOCKS + j);
    for (int j = 0; j < BLOCKS; j++)
        box_muller_f32(w[2][j], w[3][j], out + 2 * BLOCKS + j, out + 3 * BLOCKS + j);
}

static inline void group_f64(uint64_t index, Stream s, double *out)
{
    uint32_t w[4][BLOCKS];
    philox(index, s, w);
    for (int j = 0; j < BLOCKS; j++) {
        uint64_t a = (uint64_t)w[1][j] << 32 | w[0][j], b = (uint64_t)w[3][j] << 32 | w[2][j];
        double u = (double)(a >> 12) * 0x1p-52 + 0x1p-53, v = (double)(b >> 11) * 0x1p-53;
        double r = sqrt(-2.0 * log(u)), t = 6.283185307179586 * v;
        out[j] = r * cos(t);
        out[BLOCKS + j] = r * sin(t);
    }
}

/* out[l][g][i] = element e = starts[l * own + g] + i of stream first + l / share, i < count; or, with
   a base, base[e] plus that times sigma and, if there are scales, scale[e / inner]; of this every
   second sample of a pair takes the negative. */
#define FILL(NAME, TYPE, GROUP, SIZE)                                                              \
    void NAME(TYPE *out, int64_t samples, int64_t segments, int64_t count, const int64_t *starts,  \
              int64_t own, int64_t first, int64_t share, uint64_t key, uint32_t role,              \
              const TYPE *base, double sigma, const TYPE *scale, int64_t inner)                    \
    {                                                                                              \
        const int64_t step = (int64_t)CHUNK * SIZE, pieces = (count + step - 1) / step;            \
        const int64_t tasks = samples * segments * pieces;                                         \
        _Pragma("omp parallel for schedule(static) if (samples * segments * count > 16384)")       \
        for (int64_t task = 0; task < tasks; task++) {                                             \
            int64_t row = task / pieces, from = task % pieces * step;                              \
            int64_t to = count < from + step ? count : from + step;                                \
            int64_t sample = row / segments, start = starts[sample * own + row % segments];        \
            int64_t at = start + from, end = start + to;                                           \
            Stream s = {{(uint32_t)key, (uint32_t)(key >> 32)}, (uint32_t)(first + sample / share), role};\
            TYPE *p = out + row * count + from, by = (TYPE)(sample % share ? -sigma : sigma);      \
            while (at < end) {                                                                     \
                int64_t skip = at % SIZE, left = end - at;                                         \
                int64_t take = SIZE - skip < left ? SIZE - skip : left;                            \
                if (take == SIZE && !base) {                                                       \
                    GROUP((uint64_t)(at / SIZE), s, p);                                            \
                } else {                                                                           \
                    TYPE part[SIZE];                                                               \
                    GROUP((uint64_t)(at / SIZE), s, part);                                         \
                    for (int64_t j = 0, r = scale ? at / inner : 0; scale && j < take; r++)        \
                        for (; j < take && at + j < (r + 1) * inner; j++)                          \
                            part[skip + j] *= scale[r];                                            \
                    if (base)                                                                      \
                        for (int64_t j = 0; j < take; j++)                                         \
                            p[j] = base[at + j] + by * part[skip + j];                             \
                    else                                                                           \
                        memcpy(p, part + skip, (size_t)take * sizeof(TYPE));                       \
                }                                                                                  \
                at += take;                                                                        \
                p += take;                                                                         \
            }                                                                                      \
        }                                                                                          \
    }

FILL(normal_f32, float, group_f32, (4 * BLOCKS))
FILL(normal_f64, double, group_f64, (2 * BLOCKS))

/* The first elements of streams 0, 1, ..., plus bases, of several tensors. */
#define SEVERAL(NAME, TYPE, FILL)                                                                  \
    void NAME(int64_t tensors, TYPE *const *outs, const int64_t *counts, int64_t samples,          \
              int64_t share, const uint64_t *keys, uint32_t role, const TYPE *const *bases,        \
              const double *sigmas, const TYPE *const *scales, const int64_t *inners)              \
    {                                                                                              \
        const int64_t start = 0;                                                                   \
        for (int64_t t = 0; t < tensors; t++)                                                      \
            FILL(outs[t], samples, 1, counts[t], &start, 0, 0, share, keys[t], role, bases[t],     \
                 sigmas[t], scales[t], inners[t]);                                                 \
    }

SEVERAL(several_f32, float, normal_f32)
SEVERAL(several_f64, double, normal_f64)

/* The norms of the rows of several matrices, one after the other; in double precision, where squares
   of any float are in range. */
void norms_f32(int64_t tensors, const float *const *matrices, const int64_t *rows,
               const int64_t *widths, float *out)
{
    for (int64_t t = 0; t < tensors; out += rows[t], t++) {
        const int64_t width = widths[t];
#pragma omp parallel for schedule(static) if (rows[t] * width > 65536)
        for (int64_t r = 0; r < rows[t]; r++) {
            const float *row = matrices[t] + r * width;
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < width; i++)
                sum += (double)row[i] * row[i];
            out[r] = (float)sqrt(sum);
        }
    }
}

#define FEW 32    /* rows that rows.h takes at most */
#define PIECE 128 /* columns that it sums in double precision at a time */

#define STREAM(key, stream, role) (Stream){{(uint32_t)(key), (uint32_t)((key) >> 32)}, (uint32_t)(stream), role}

#define REAL float
#define NAME(name) name##_f32
#define GROUP group_f32
#define SIZE (4 * BLOCKS)
#include "rows.h"
#undef REAL
#undef NAME
#undef GROUP
#undef SIZE

#define REAL double
#define NAME(name) name##_f64
#define GROUP group_f64
#define SIZE (2 * BLOCKS)
#include "rows.h"
