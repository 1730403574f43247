/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, binding and running plans that may be the work of an enemy: a status, never a crash. The mutator starts from plans of its own
 * making (when the input is none, and now and then), changes fields of records, and seals again, so that most inputs get past the hash. */
#include "runtime/graphs.h"
#include "runtime/hostile.h"
#include "runtime/make_plan.h"

#include "backend/registry.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

static Built plans[TN_COUNT(all_graphs)];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    TnError err = {0};
    (void)argc, (void)argv;
    for (size_t i = 0; i < TN_COUNT(all_graphs); i++) {
        IrModule *m = all_graphs[i](NULL);
        if (!m || build_module(m, NULL, false, i % 2 == 0, &plans[i], &err) != TN_OK)
            abort();
    }
    return 0;
}

/* Stored inputs stay plans when kernels come and go: identity and hashes are made anew. */
static void renew(uint8_t *bytes, size_t n) {
    PlanHeader h;
    if (n < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, PLAN_MAGIC, sizeof h.magic) != 0)
        return;
    h.kernel_identity = tni_kernel_identity();
    h.file_bytes = n;
    memcpy(bytes, &h, sizeof h);
    tni_plan_seal(bytes, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    uint8_t *copy = tni_alloc_aligned(NULL, n, 4096);
    if (!copy)
        return 0;
    memcpy(copy, data, n);
    if (n % 2 == 0 || n > sizeof(PlanHeader))
        renew(copy, n);
    hostile_run(copy, n);
    tni_free(NULL, copy);
    return 0;
}

static uint32_t next(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/* One 32-bit field of a section before the weights. */
static void change_field(uint8_t *data, size_t n, uint32_t *s) {
    static const uint32_t odd[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 64, 255, 65535, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    PlanHeader h;
    PlanSection sec;
    memcpy(&h, data, sizeof h);
    if (h.n_sections == 0 || h.n_sections >= PLAN_SEC_COUNT || sizeof h + h.n_sections * sizeof sec > n)
        return;
    uint32_t pick = next(s) % h.n_sections;
    memcpy(&sec, data + sizeof h + pick * sizeof sec, sizeof sec);
    if (sec.kind == PLAN_SEC_WEIGHTS || sec.kind == PLAN_SEC_EXPLAIN || sec.offset > n || sec.bytes > n - sec.offset || sec.bytes < 4)
        return;
    size_t at = (size_t)sec.offset + next(s) % (sec.bytes / 4) * 4, from = (size_t)sec.offset + next(s) % (sec.bytes / 4) * 4;
    uint32_t v;
    memcpy(&v, data + at, 4);
    switch (next(s) % 5) {
    case 0:
        v = odd[next(s) % TN_COUNT(odd)];
        break;
    case 1:
        v += next(s) % 9 - 4;
        break;
    case 2:
        v ^= 1u << next(s) % 32;
        break;
    case 3:
        v = next(s) % 40;
        break;
    default:
        memcpy(&v, data + from, 4);
        break;
    }
    memcpy(data + at, &v, 4);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    uint32_t s = seed;
    bool plan = n > sizeof(PlanHeader) && memcmp(data, PLAN_MAGIC, 8) == 0;
    if (!plan || next(&s) % 50 == 0) {
        const Built *b = &plans[next(&s) % TN_COUNT(plans)];
        if (b->n <= max) {
            memcpy(data, b->bytes, b->n);
            n = b->n;
        }
    }
    if (next(&s) % 20 == 0)
        n = LLVMFuzzerMutate(data, n, max);
    if (n > sizeof(PlanHeader))
        for (uint32_t k = next(&s) % 3 + 1; k > 0; k--)
            change_field(data, n, &s);
    renew(data, n);
    return n;
}
