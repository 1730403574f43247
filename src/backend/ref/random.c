/* SPDX-License-Identifier: Apache-2.0
 *
 * random: a counter-based generator. Element i of a tensor is a function of (seed, i): the counter goes through Philox 4x32 with ten rounds
 * (multiply, take the halves apart, mix with the key), whose constants are those of its authors' paper, so that any element can be made
 * alone, on any thread. A counter gives four 32-bit words; an element takes two of them as a number of 53 bits:
 *     uniform:  u = k / 2^53                           0 <= u < 1
 *     normal:   sqrt(-2 ln(1 - u1)) cos(2 pi u2)       u1, u2 of the same counter */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Random {
    const TnTensor *y;
    const TnRandomParams *p;
} Random;

static void philox(uint32_t key0, uint32_t key1, uint64_t counter, uint32_t out[4]) {
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ key1, (uint32_t)a};
        memcpy(c, next, sizeof c);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

static double unit(uint32_t high, uint32_t low) {
    return (double)(((uint64_t)high << 21) ^ (low >> 11)) * 0x1p-53;
}

/* Rounded to the type, b itself would be possible; it is left out. */
static double below(TnDtype t, double v, double a, double b) {
    uint8_t bytes[8];
    tni_store_f64(t, bytes, 0, v);
    return b > a && tni_load_f64(t, bytes, 0) >= b ? a : v;
}

static void random_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Random *r = ctx;
    (void)worker;
    const double a = (double)r->p->a, b = (double)r->p->b;
    for (int64_t i = first; i < last; i++) {
        uint32_t w[4];
        philox(r->p->seed_low, r->p->seed_high, (uint64_t)i, w);
        double u = unit(w[0], w[1]), v;
        if (r->p->kind == TN_RANDOM_NORMAL)
            v = a + b * sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * unit(w[2], w[3]));
        else
            v = below(r->y->dtype, a + (b - a) * u, a, b);
        tni_store_f64(r->y->dtype, r->y->data, i, v);
    }
}

TnStatus tni_ref_random(TnKernelCall *call) {
    Random r = {&call->out[0], call->params};
    if (r.p->kind > TN_RANDOM_NORMAL)
        return tni_ref_bad_call(call, "random", "a distribution that does not exist");
    tni_ref_ranges(call->threads, tn_tensor_numel(r.y), 4096, random_range, &r);
    return TN_OK;
}
