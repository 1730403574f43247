/* SPDX-License-Identifier: Apache-2.0
 *
 * TfIdfVectorizer over integers: every n-gram of the pool is compared with every window of the input, for every skip between its elements:
 *
 *     windows = x[:, w + k * (skip + 1)]  [B, W, 1, n]   equal to the pool's [P, n] in all n   sum over W and skips   [B, P]
 *
 * Columns are put where ngram_indexes says and weighted. */
#include "onnx/express.h"

typedef struct Pool {
    const int64_t *ids, *starts, *places;
    const float *weights;
    uint32_t n_ids, n_starts, n_places, n_weights;
} Pool;

/* How often each of p n-grams (pool [p, n]) occurs in x [B, length]. */
static IrValueId occurrences(OnnxX *x, IrValueId v, int64_t length, const int64_t *pool, int64_t p, int64_t n, int64_t skips) {
    IrValueId sum = TN_NO_VALUE;
    const int64_t dims[2] = {p, n};
    IrValueId grams = tni_x_reshape_to(x, tni_x_ints(x, pool, (uint32_t)(p * n)), dims, 2);
    int32_t last = 3, windows = 1;
    for (int64_t skip = 0; skip <= (n == 1 ? 0 : skips); skip++) {
        const int64_t w = length - (n - 1) * (skip + 1);
        if (w <= 0)
            break;
        IrValueId step = tni_x_binary(x, TN_BINARY_mul, tni_x_count(x, tni_x_int(x, n)), tni_x_int(x, skip + 1));
        IrValueId at = tni_x_binary(x, TN_BINARY_add, tni_x_unsqueeze(x, tni_x_count(x, tni_x_int(x, w)), 1), step);
        IrValueId seen = tni_x_unsqueeze(x, tni_x_gather(x, v, at, 1), 2);
        IrValueId same = tni_x_cast(x, tni_x_binary(x, TN_BINARY_equal, seen, grams), TN_F32);
        IrValueId count = tni_x_reduce(x, TN_REDUCE_sum, tni_x_reduce(x, TN_REDUCE_min, same, &last, 1, false), &windows, 1, false);
        sum = sum == TN_NO_VALUE ? count : tni_x_binary(x, TN_BINARY_add, sum, count);
    }
    if (sum != TN_NO_VALUE)
        return sum;
    IrValueId shape[2] = {tni_x_dim(x, v, 0), tni_x_ints(x, &p, 1)};
    return tni_x_fill(x, tni_x_concat(x, shape, 2, 0), TN_F32, 0);
}

static TnStatus pool_of(OnnxCall *c, Pool *p) {
    memset(p, 0, sizeof *p);
    TN_TRY(tni_onnx_attr_ints(c, "pool_int64s", &p->ids, &p->n_ids));
    TN_TRY(tni_onnx_attr_ints(c, "ngram_counts", &p->starts, &p->n_starts));
    TN_TRY(tni_onnx_attr_ints(c, "ngram_indexes", &p->places, &p->n_places));
    TN_TRY(tni_onnx_attr_floats(c, "weights", &p->weights, &p->n_weights));
    if (p->ids == NULL)
        return ONNX_UNSUPPORTED(c, "attribute 'pool_int64s' is required; pools of strings are not supported");
    if (p->n_starts == 0 || p->n_places == 0 || p->n_places > 65536 || (p->weights != NULL && p->n_weights != p->n_places))
        return ONNX_BAD(c, "attributes 'ngram_counts', 'ngram_indexes' and 'weights' do not fit together");
    for (uint32_t i = 0; i < p->n_places; i++)
        if (p->places[i] < 0 || p->places[i] > 65536)
            return ONNX_BAD(c, "attribute 'ngram_indexes' holds %lld", (long long)p->places[i]);
    return TN_OK;
}

/* counts [B, n-grams] with column `places[i]` from n-gram i, 0 where none belongs. */
static IrValueId arrange(OnnxX *x, const Pool *p, IrValueId counts) {
    OnnxCall *c = x->c;
    int64_t width = 0;
    for (uint32_t i = 0; i < p->n_places; i++)
        width = TN_MAX(width, p->places[i] + 1);
    int64_t *from = tni_arena_calloc(c->imp->scratch, (size_t)width, sizeof *from), one = 1;
    if (from == NULL) {
        x->st = TN_OOM(c->err, (size_t)width * sizeof *from);
        return TN_NO_VALUE;
    }
    for (int64_t i = 0; i < width; i++)
        from[i] = p->n_places;
    for (uint32_t i = 0; i < p->n_places; i++)
        from[p->places[i]] = i;
    IrValueId shape[2] = {tni_x_dim(x, counts, 0), tni_x_ints(x, &one, 1)};
    IrValueId both[2] = {counts, tni_x_fill(x, tni_x_concat(x, shape, 2, 0), TN_F32, 0)};
    return tni_x_gather(x, tni_x_concat(x, both, 2, 1), tni_x_ints(x, from, (uint32_t)width), 1);
}

TnStatus tni_onnx_convert_tfidf(OnnxCall *c) {
    static const char *const modes[] = {"TF", "IDF", "TFIDF"};
    Pool p;
    uint32_t mode = 0, parts = 0, grams = 0;
    int32_t least = 1, most = 1, skips = 0;
    IrValueId part[16];
    OnnxX xs = {.c = c}, *x = &xs;
    TN_TRY(pool_of(c, &p));
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &mode));
    TN_TRY(tni_onnx_attr_i32(c, "min_gram_length", 1, 16, &least));
    TN_TRY(tni_onnx_attr_i32(c, "max_gram_length", 1, 16, &most));
    TN_TRY(tni_onnx_attr_i32(c, "max_skip_count", 0, 64, &skips));
    int32_t rank = tni_x_need_rank(x, 0);
    TN_TRY(x->st);
    const IrValue *in = &c->scope->target->g->values[c->in[0]];
    int64_t length = 0;
    if ((rank != 1 && rank != 2) || in->rank != rank || !tni_ir_dim_is_const(c->imp->m, in->dims[rank - 1], &length))
        return ONNX_UNSUPPORTED(c, "operand 0 must have rank 1 or 2 and a length that is known at import");
    IrValueId v = tni_x_cast(x, rank == 1 ? tni_x_unsqueeze(x, c->in[0], 0) : c->in[0], TN_I64);
    for (int64_t n = 1; n <= (int64_t)p.n_starts && n <= 16; n++) {
        const int64_t first = p.starts[n - 1], last = n < (int64_t)p.n_starts ? p.starts[n] : (int64_t)p.n_ids, count = (last - first) / n;
        if (first < 0 || last < first || last > (int64_t)p.n_ids || count > 4096)
            return ONNX_BAD(c, "attribute 'ngram_counts' does not divide the pool");
        if (count == 0)
            continue;
        grams += (uint32_t)count;
        part[parts++] = occurrences(x, v, n < least || n > most ? 0 : length, p.ids + first, count, n, skips);
    }
    if (parts == 0 || grams != p.n_places)
        return ONNX_BAD(c, "the pool has %u n-grams, 'ngram_indexes' %u", grams, p.n_places);
    IrValueId y = tni_x_concat(x, part, parts, 1), zero = tni_x_number(x, TN_F32, 0);
    if (mode == 1)
        y = tni_x_cast(x, tni_x_binary(x, TN_BINARY_greater, y, zero), TN_F32);
    if (mode != 0 && p.weights != NULL) {
        int64_t dims[1] = {p.n_weights};
        IrValueId w = TN_NO_VALUE;
        TN_TRY(x->st);
        TN_TRY(tni_onnx_const(c, "weights", TN_F32, 1, dims, p.weights, &w));
        y = tni_x_binary(x, TN_BINARY_mul, y, w);
    }
    y = arrange(x, &p, y);
    return tni_x_finish(x, 0, rank == 1 ? tni_x_squeeze(x, y, 0) : y);
}
