/* SPDX-License-Identifier: Apache-2.0
 *
 * One table of all kernels. A kernels.inc has rows
 *   KERNEL(op, name, cpu_flags, run, supports, scratch, cost, packing, packed_bytes, pack, atol, rtol)
 * with op and name as bare words; functions that are not there are NULL. */
#include "backend/registry.h"

#include "base/cpu.h"

#include "backend/cpu/families.h"
#include "backend/ref/ref.h"

static const TnKernel table[] = {
#define KERNEL(op, name, cpu, run, supports, scratch, cost, packing, packed_bytes, pack, atol, rtol)                                       \
    {#name, TN_OP_##op, cpu, run, supports, scratch, cost, packing, packed_bytes, pack, atol, rtol, 0, 0, 0, 0, NULL},
#include "backend/ref/kernels.inc"
#include "backend/cpu/families.inc"
#undef KERNEL
};

const TnKernel *tni_kernels(uint32_t *n) {
    *n = (uint32_t)TN_COUNT(table);
    return table;
}

const TnKernel *tni_kernel_find(const char *name) {
    /* Some hundred rows, asked once a step when a plan is loaded: most names differ within a few letters. */
    for (size_t i = 0; name != NULL && i < TN_COUNT(table); i++)
        if (table[i].name[0] == name[0] && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const TnKernel *tni_kernel_ref(TnOp op) {
    /* Reference rows stand first, in the order of ops.inc without the control operators: row index <= operator number. */
    for (size_t i = 0; i <= (size_t)op && i < TN_COUNT(table); i++)
        if (table[i].op == op)
            return strncmp(table[i].name, "ref_", 4) == 0 ? &table[i] : NULL;
    return NULL;
}

uint64_t tni_kernel_identity(void) {
    uint64_t h = 0;
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        const char *packing = table[i].packing == NULL ? "" : table[i].packing;
        h = tni_hash(table[i].name, strlen(table[i].name) + 1, h);
        h = tni_hash(packing, strlen(packing) + 1, h);
    }
    return h;
}
