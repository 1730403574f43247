/* SPDX-License-Identifier: Apache-2.0
 *
 * checkkern: runs every kernel row that is not a reference against the reference kernel of its operator, on every ISA level of this
 * machine. A case is built from (operator, number, seed) alone, so that one failing case can be run again by itself.
 *
 * To cover an operator: write `bool case_OP(Case *c)`, which fills c->params, operands and outputs for case number c->k with random
 * numbers from c->rng only, and returns false when there is no case k; list it in generators.c. `c->bench` asks for case k of a short
 * list of large shapes, timed with --bench. */
#ifndef TENON_TESTS_KERNELS_CHECKKERN_H
#define TENON_TESTS_KERNELS_CHECKKERN_H

#include "backend/registry.h"
#include "base/dtype.h"

#define CASE_IN 16
#define CASE_OUT 8
#define CASE_BUFFERS 96
#define CASE_DIMS 16 /* symbolic dimensions that a case may name */

/* Where a buffer lies: on a 64-byte boundary, one element after one, or ending where an unmapped page begins. */
typedef enum Placement { PLACE_ALIGNED, PLACE_SHIFTED, PLACE_GUARDED, PLACE_COUNT } Placement;

typedef struct Buffer {
    unsigned char *map; /* mapped pages */
    size_t map_bytes;
    unsigned char *data;
    size_t bytes;
} Buffer;

typedef struct Case {
    TnOp op;
    uint32_t k;
    bool bench;
    uint64_t rng;
    Placement place;
    union {
        uint64_t align;
        unsigned char bytes[1024];
    } params;
    TnTensor in[CASE_IN], out[CASE_OUT];
    uint32_t n_in, n_out;
    bool constant[CASE_IN]; /* known when the kernel is chosen; may be packed */
    bool state[CASE_IN];    /* written in place: compared like an output */
    bool special;           /* NaN or infinities were planted */
    bool skip_inplace;
    Buffer buffers[CASE_BUFFERS];
    uint32_t n_buffers;
    bool failed; /* out of memory or too many buffers */
    char what[256];
} Case;

/* checkcuda sets it: every second case then has sizes that are multiples of 8, which wide loads and matrix units want, and operators with such
 * kernels have further cases of their models' sizes. */
extern bool ck_for_devices;

/* Cases of attention from this one on have a dense bias and come in threes: the mask stays float32 in the first, the dense bias in the third. */
#define CK_DENSE_ATTENTION 250

/* ---- random numbers ---- */
uint64_t ck_rand(Case *c);
int64_t ck_range(Case *c, int64_t lo, int64_t hi); /* lo .. hi, both included */
double ck_unit(Case *c);                           /* [0, 1) */
double ck_normal(Case *c);
bool ck_coin(Case *c);
int64_t ck_pick(Case *c, uint32_t n, const int64_t *list);
#define CK_PICK(c, ...) ck_pick((c), (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
/* A size: mostly small and odd, sometimes around vector widths and tile edges, never more than max. */
int64_t ck_size(Case *c, int64_t max);

/* ---- operands ---- */
typedef enum Fill {
    FILL_NORMAL,   /* standard normal (integers: -100 .. 100; bool: 0, 1) */
    FILL_SPECIAL,  /* normal with NaN, infinities, zeros of both signs, subnormals and outliers planted */
    FILL_FINITE,   /* as SPECIAL without NaN and infinities */
    FILL_POSITIVE, /* 0.1 .. 2 */
    FILL_WIDE,     /* any finite bit pattern (integers: any) */
} Fill;
void *ck_params(Case *c, size_t bytes); /* zeroed; the params of this case */
TnTensor *ck_in(Case *c, TnDtype t, int32_t rank, const int64_t *dims, Fill fill);
TnTensor *ck_const(Case *c, TnDtype t, int32_t rank, const int64_t *dims, Fill fill);
TnTensor *ck_ints(Case *c, TnDtype t, int32_t rank, const int64_t *dims, int64_t lo, int64_t hi); /* uniform integers */
TnTensor *ck_values(Case *c, TnDtype t, int64_t n, const int64_t *v); /* constant vector of n integers (n == -1: a scalar v[0]) */
void ck_absent(Case *c);
void ck_last_constant(Case *c); /* the last input is a constant */
TnTensor *ck_out(Case *c, TnDtype t, int32_t rank, const int64_t *dims);
void ck_fill(Case *c, TnTensor *t, Fill fill);
void ck_say(Case *c, const char *fmt, ...) TN_PRINTF(2, 3);
#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Buffer of exactly `bytes` placed as the case says, with canaries around; NULL on failure. */
unsigned char *ck_buffer(Case *c, size_t bytes, size_t element);
bool ck_canaries_ok(const Case *c);
/* Builds case k of op; false when there is none. ck_end frees. */
bool ck_begin(Case *c, TnOp op, uint32_t k, uint64_t seed, bool bench);
void ck_end(Case *c);
void ck_release(Case *c, uint32_t keep); /* frees the buffers after the first `keep` */

typedef bool (*CaseFn)(Case *c);
CaseFn ck_generator(TnOp op); /* NULL: none */

#endif
