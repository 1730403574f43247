/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of torch.save: bytes that begin as a zip archive go through the whole reader, all others through the pickle machine alone, with a storage of
 * 64 bytes under every key (the sums in archives would hide it from mutations). Every tensor that is accepted is read to its last byte. */
#include "base/dtype.h"
#include "hf/pickle.h"
#include "hf/torch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint8_t sum;

static void touch(const TnTensor *t) {
    const uint8_t *p = t->data;
    for (size_t k = 0; k < tn_tensor_bytes(t); k++)
        sum = (uint8_t)(sum + p[k]);
}

static TnStatus storage(void *ctx, const char *key, size_t bytes, PickleStorage *out, TnError *err) {
    static const uint8_t zeros[64];
    (void)ctx;
    if (bytes > sizeof zeros)
        return TN_RAISE(err, TN_ERR_DATA, "storage '%s' is too small", key);
    *out = (PickleStorage){zeros, sizeof zeros, TN_UNDEFINED};
    return TN_OK;
}

/* Tensors of the value itself, and of one level of a dictionary, list or tuple. */
static void walk(const PickleValue *v, int depth) {
    if (v->kind == PICKLE_TENSOR)
        touch(v->u.tensor);
    bool items = v->kind == PICKLE_DICT || v->kind == PICKLE_LIST || v->kind == PICKLE_TUPLE;
    for (uint32_t i = 0; items && depth > 0 && i < v->n && i < 64; i++)
        walk(v->u.items[i], depth - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    HfCheckpoint c = {0};
    TnError err = {0};
    if (tni_arena_create(NULL, &c.arena, &err) != TN_OK)
        return 0;
    if (n >= 2 && data[0] == 'P' && data[1] == 'K') {
        if (tni_hf_torch_read(&c, (TnSpan){data, n, 0}, "fuzz", &err) == TN_OK) {
            for (uint32_t i = 0; i < c.n_tensors; i++)
                touch(&c.tensors[i].t);
        }
    } else {
        PickleInput in = {.arena = c.arena, .name = "fuzz", .text = {data, n, 0}, .storage = storage, .copy_limit = 1 << 16};
        PickleValue *v;
        if (tni_hf_pickle_read(&in, &v, &err) == TN_OK)
            walk(v, 2);
    }
    tni_arena_destroy(&c.arena);
    return 0;
}
