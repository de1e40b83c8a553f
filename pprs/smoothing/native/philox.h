/* Philox4x32-10, of BLOCKS counters at a time. What takes its time are products of two 32-bit words,
   64 bits wide, of which compilers make several instructions; vector units of x86 have one. */

typedef struct {
    uint32_t key[2], number, role;
} Stream;

#define BLOCKS 16 /* counters that advance together: one vector of 32-bit words */

#if defined(__AVX512F__)
#include <immintrin.h>
typedef uint64_t Lanes __attribute__((vector_size(64)));
#define ORDER {0, 1, 4, 5, 8, 9, 12, 13}
#define MULTIPLY(x, y) ((Lanes)_mm512_mul_epu32((__m512i)(x), (__m512i)(y)))
#define PACK(x, y) ((Lanes)_mm512_shuffle_ps((__m512)(x), (__m512)(y), 0x88))
#elif defined(__AVX2__)
#include <immintrin.h>
typedef uint64_t Lanes __attribute__((vector_size(32)));
#define ORDER {0, 1, 4, 5}
#define MULTIPLY(x, y) ((Lanes)_mm256_mul_epu32((__m256i)(x), (__m256i)(y)))
#define PACK(x, y) ((Lanes)_mm256_shuffle_ps((__m256)(x), (__m256)(y), 0x88))
#endif

#define UNROLLED _Pragma("GCC unroll 8") /* so that all vectors stay in registers */

#ifdef MULTIPLY

/* Each word is the lower half of a lane: MULTIPLY does not look at the upper one. Of every four
   counters two are in a vector and two in the next, whose lower halves PACK puts side by side. */
static inline void philox(uint64_t group, Stream s, uint32_t out[4][BLOCKS])
{
    enum { LANES = sizeof(Lanes) / 8, VECTORS = BLOCKS / LANES };
    const Lanes none = {0}, by0 = none + 0xD2511F53u, by1 = none + 0xCD9E8D57u, order = ORDER;
    uint32_t k0 = s.key[0], k1 = s.key[1];
    Lanes w[4][VECTORS];
    UNROLLED
    for (int v = 0; v < VECTORS; v++) {
        Lanes block = order + (group * BLOCKS + (uint64_t)(v / 2 * 2 * LANES + v % 2 * 2));
        w[0][v] = block;
        w[1][v] = block >> 32;
        w[2][v] = none + s.number;
        w[3][v] = none + s.role;
    }
    for (int round = 0; round < 10; round++) {
        UNROLLED
        for (int v = 0; v < VECTORS; v++) {
            Lanes p0 = MULTIPLY(w[0][v], by0), p1 = MULTIPLY(w[2][v], by1);
            w[0][v] = (p1 >> 32) ^ w[1][v] ^ (none + k0);
            w[2][v] = (p0 >> 32) ^ w[3][v] ^ (none + k1);
            w[1][v] = p1;
            w[3][v] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    UNROLLED
    for (int word = 0; word < 4; word++)
        UNROLLED
        for (int v = 0; v < VECTORS; v += 2) {
            Lanes packed = PACK(w[word][v], w[word][v + 1]);
            memcpy(out[word] + v * LANES, &packed, sizeof packed);
        }
}

#else

static inline void philox(uint64_t group, Stream s, uint32_t w[4][BLOCKS])
{
    uint32_t k0 = s.key[0], k1 = s.key[1];
    for (int j = 0; j < BLOCKS; j++) {
        uint64_t block = group * BLOCKS + j;
        w[0][j] = (uint32_t)block;
        w[1][j] = (uint32_t)(block >> 32);
        w[2][j] = s.number;
        w[3][j] = s.role;
    }
    for (int round = 0; round < 10; round++) {
        for (int j = 0; j < BLOCKS; j++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * w[0][j];
            uint64_t p1 = (uint64_t)0xCD9E8D57u * w[2][j];
            w[0][j] = (uint32_t)(p1 >> 32) ^ w[1][j] ^ k0;
            w[2][j] = (uint32_t)(p0 >> 32) ^ w[3][j] ^ k1;
            w[1][j] = (uint32_t)p1;
            w[3][j] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

#endif
