/* SPDX-License-Identifier: Apache-2.0
 *
 * The ONNX importer and shape inference on any bytes: an error that says why, or a module that verifies. Memory is capped, so that a small
 * file which asks for much is told so by the allocator and not by the machine. */
#include <stdlib.h>

#include "onnx/onnx.h"
#include "shape/shape.h"

enum { CAP_MB = 512 };

typedef struct Budget {
    size_t used;
} Budget;

/* Total, not live: one import should not churn either. */
static void *take(void *ctx, size_t size, size_t align) {
    Budget *b = ctx;
    void *p = NULL;
    if (size > (size_t)CAP_MB << 20 || b->used + size > (size_t)CAP_MB << 20)
        return NULL;
    b->used += size;
    return posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size == 0 ? 1 : size) == 0 ? p : NULL;
}

static void give(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    Budget budget = {0};
    TnAllocator a = {take, give, &budget};
    OnnxOptions o = {.max_nodes = 20000};
    IrModule *m = NULL;
    TnError err = {0};
    uint64_t hash = 0;
    TnStatus st = tni_onnx_import_memory(data, n, NULL, &o, &a, &m, &hash, &err);
    if (st == TN_ERR_INTERNAL || (st != TN_OK && (m != NULL || err.message[0] == '\0')))
        abort();
    if (st != TN_OK)
        return 0;
    st = tni_ir_verify(m, &err);
    if (st != TN_OK && st != TN_ERR_MEMORY)
        abort();
    st = tni_shape_infer(m, &err);
    if (st == TN_ERR_INTERNAL)
        abort();
    if (st == TN_OK && tni_ir_verify(m, &err) == TN_ERR_GRAPH)
        abort();
    tni_ir_module_destroy(&m);
    return 0;
}
