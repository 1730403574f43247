/* SPDX-License-Identifier: Apache-2.0
 *
 * Building one case: random numbers, placed buffers with canaries, fills. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/checkkern.h"

bool ck_for_devices;

#define CANARY 0xC5
#define MARGIN 128

uint64_t ck_rand(Case *c) {
    uint64_t z = (c->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t ck_range(Case *c, int64_t lo, int64_t hi) {
    return hi <= lo ? lo : lo + (int64_t)(ck_rand(c) % ((uint64_t)(hi - lo) + 1));
}
double ck_unit(Case *c) {
    return (double)(ck_rand(c) >> 11) * 0x1p-53;
}
bool ck_coin(Case *c) {
    return (ck_rand(c) >> 40 & 1) != 0;
}
int64_t ck_pick(Case *c, uint32_t n, const int64_t *list) {
    return list[ck_rand(c) % n];
}

double ck_normal(Case *c) {
    double s = 0;
    for (int i = 0; i < 6; i++)
        s += ck_unit(c);
    return (s - 3.0) * 1.4142135623730951;
}

int64_t ck_size(Case *c, int64_t max) {
    static const int64_t edges[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513, 709};
    int64_t v = ck_rand(c) % 3 == 0 ? edges[ck_rand(c) % TN_COUNT(edges)] : ck_range(c, 1, 40);
    v = v > max ? 1 + v % max : v;
    return ck_for_devices && c->k % 2 == 1 && max >= 8 ? TN_MIN((v + 7) & ~(int64_t)7, max & ~(int64_t)7) : v;
}

unsigned char *ck_buffer(Case *c, size_t bytes, size_t element) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + 2 * MARGIN + 64 + page - 1) / page;
    if (c->n_buffers >= CASE_BUFFERS) {
        c->failed = true;
        return NULL;
    }
    Buffer *b = &c->buffers[c->n_buffers];
    b->map_bytes = (pages + 1) * page;
    void *map = mmap(NULL, b->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect((unsigned char *)map + pages * page, page, PROT_NONE) != 0) {
        c->failed = true;
        return NULL;
    }
    c->n_buffers++;
    b->map = map;
    b->bytes = bytes;
    memset(b->map, CANARY, pages * page);
    if (c->place == PLACE_GUARDED)
        b->data = b->map + pages * page - bytes;
    else
        b->data = b->map + MARGIN + (c->place == PLACE_SHIFTED ? element : 0);
    return b->data;
}

static bool is_canary(const unsigned char *p, const unsigned char *end) {
    for (; p < end; p++)
        if (*p != CANARY)
            return false;
    return true;
}

bool ck_canaries_ok(const Case *c) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < c->n_buffers; i++) {
        const Buffer *b = &c->buffers[i];
        const unsigned char *end = b->map + b->map_bytes - page, *after = b->data + b->bytes;
        if (!is_canary(b->data - MARGIN, b->data) || !is_canary(after, TN_MIN(after + MARGIN, end)))
            return false;
    }
    return true;
}

void *ck_params(Case *c, size_t bytes) {
    if (bytes > sizeof c->params.bytes)
        c->failed = true;
    memset(&c->params, 0, sizeof c->params);
    return &c->params;
}

static void fill_floats(Case *c, TnTensor *t, int64_t n, Fill fill) {
    static const float planted[] = {0.0f,   -0.0f,   1e-40f, -3e-42f, 1.0f, -1.0f,    88.7f,     -87.4f,
                                    104.0f, -104.0f, 1e4f,   -1e4f,   0.5f, INFINITY, -INFINITY, NAN};
    for (int64_t i = 0; i < n; i++) {
        double v = fill == FILL_POSITIVE ? 0.1 + 1.9 * ck_unit(c) : ck_normal(c);
        if (fill == FILL_WIDE) {
            uint32_t u = (uint32_t)ck_rand(c);
            float f;
            if ((u >> 23 & 0xffu) == 0xffu)
                u ^= 0x40000000u;
            memcpy(&f, &u, 4);
            v = (double)f;
        }
        if ((fill == FILL_SPECIAL || fill == FILL_FINITE) && ck_rand(c) % 7 == 0) {
            uint64_t kinds = TN_COUNT(planted) - (fill == FILL_FINITE ? 3 : 0);
            v = (double)planted[ck_rand(c) % kinds];
        }
        tni_store_f64(t->dtype, t->data, i, v);
    }
    c->special |= fill == FILL_SPECIAL;
}

void ck_fill(Case *c, TnTensor *t, Fill fill) {
    int64_t n = tn_tensor_numel(t);
    if (t->data == NULL)
        return;
    if (tni_dtype_is_float(t->dtype)) {
        fill_floats(c, t, n, fill);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t v = fill == FILL_WIDE ? (int64_t)ck_rand(c) : fill == FILL_POSITIVE ? ck_range(c, 1, 100) : ck_range(c, -100, 100);
        tni_store_i64(t->dtype, t->data, i, t->dtype == TN_BOOL ? v & 1 : v);
    }
}

static TnTensor *place(Case *c, TnTensor *t, TnDtype dtype, int32_t rank, const int64_t *dims) {
    *t = (TnTensor){.dtype = dtype, .rank = rank};
    for (int32_t d = 0; d < rank; d++)
        t->dims[d] = dims[d];
    t->data = ck_buffer(c, tn_tensor_bytes(t), TN_MAX(tn_dtype_bits(dtype) / 8, 1));
    return t;
}

static TnTensor *next_in(Case *c) {
    if (c->n_in >= CASE_IN) {
        c->failed = true;
        c->n_in = 0;
    }
    return &c->in[c->n_in++];
}

TnTensor *ck_in(Case *c, TnDtype t, int32_t rank, const int64_t *dims, Fill fill) {
    TnTensor *x = place(c, next_in(c), t, rank, dims);
    ck_fill(c, x, fill);
    return x;
}

TnTensor *ck_const(Case *c, TnDtype t, int32_t rank, const int64_t *dims, Fill fill) {
    TnTensor *x = ck_in(c, t, rank, dims, fill);
    ck_last_constant(c);
    return x;
}

TnTensor *ck_ints(Case *c, TnDtype t, int32_t rank, const int64_t *dims, int64_t lo, int64_t hi) {
    TnTensor *x = place(c, next_in(c), t, rank, dims);
    for (int64_t i = 0; i < tn_tensor_numel(x) && x->data != NULL; i++)
        tni_store_i64(t, x->data, i, ck_range(c, lo, hi));
    return x;
}

TnTensor *ck_values(Case *c, TnDtype t, int64_t n, const int64_t *v) {
    TnTensor *x = place(c, next_in(c), t, n < 0 ? 0 : 1, &n);
    for (int64_t i = 0; i < (n < 0 ? 1 : n) && x->data != NULL; i++)
        tni_store_i64(t, x->data, i, v[i]);
    ck_last_constant(c);
    return x;
}

void ck_absent(Case *c) {
    *next_in(c) = (TnTensor){.dtype = TN_UNDEFINED};
}
void ck_last_constant(Case *c) {
    c->constant[c->n_in - 1] = true;
}

TnTensor *ck_out(Case *c, TnDtype t, int32_t rank, const int64_t *dims) {
    if (c->n_out >= CASE_OUT) {
        c->failed = true;
        c->n_out = 0;
    }
    return place(c, &c->out[c->n_out++], t, rank, dims);
}

void ck_say(Case *c, const char *fmt, ...) {
    size_t n = strlen(c->what);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->what + n, sizeof c->what - n, fmt, ap);
    va_end(ap);
}

bool ck_begin(Case *c, TnOp op, uint32_t k, uint64_t seed, bool bench) {
    CaseFn fn = ck_generator(op);
    memset(c, 0, sizeof *c);
    c->op = op;
    c->k = k;
    c->bench = bench;
    c->rng = tni_hash(&k, sizeof k, seed * 1000003u + (uint64_t)op);
    c->place = bench ? PLACE_ALIGNED : (Placement)(k % PLACE_COUNT);
    return fn != NULL && fn(c) && !c->failed;
}

void ck_release(Case *c, uint32_t keep) {
    while (c->n_buffers > keep) {
        Buffer *b = &c->buffers[--c->n_buffers];
        munmap(b->map, b->map_bytes);
    }
}

void ck_end(Case *c) {
    ck_release(c, 0);
}
