/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that need not be here: what an architecture's usual part can do, for estimates. In: "sm_90". Out: its description. */
#include "planner/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Dense rates of the data sheets; memory of the largest common part. */
static const struct {
    uint32_t arch, sm_count, shared_kib, l2_mib, memory_gib;
    double gigabytes_per_second, half, tf32, single; /* tera operations a second */
    const char *name;
} table[] = {
    {75, 40, 64, 4, 16, 320, 65, 8.1, 8.1, "NVIDIA T4"},
    {80, 108, 163, 40, 80, 2039, 312, 156, 19.5, "NVIDIA A100"},
    {86, 72, 99, 6, 24, 600, 125, 62.5, 31.2, "NVIDIA A10"},
    {89, 142, 99, 96, 48, 864, 362, 183, 91.6, "NVIDIA L40S"},
    {90, 132, 227, 50, 141, 4800, 989, 494, 67, "NVIDIA H200"},
    {100, 148, 227, 126, 180, 8000, 2250, 1100, 80, "NVIDIA B200"},
    {120, 170, 99, 96, 32, 1792, 210, 105, 105, "NVIDIA RTX 5090"},
};

TnStatus tni_planner_target(const char *name, TnDeviceInfo *out, TnError *err) {
    char *end = NULL;
    unsigned long arch = strncmp(name, "sm_", 3) == 0 ? strtoul(name + 3, &end, 10) : 0;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        if (table[i].arch != arch || !end || *end)
            continue;
        snprintf(out->name, sizeof out->name, "%s", table[i].name);
        out->arch = table[i].arch;
        out->sm_count = table[i].sm_count;
        out->shared_bytes = table[i].shared_kib << 10;
        out->has_blaslt = out->has_compiler = 1;
        out->memory_bytes = (uint64_t)table[i].memory_gib << 30;
        out->l2_bytes = (uint64_t)table[i].l2_mib << 20;
        out->bytes_per_second = table[i].gigabytes_per_second * 1e9;
        out->half_flops = table[i].half * 1e12;
        out->tf32_flops = table[i].tf32 * 1e12;
        out->float_flops = table[i].single * 1e12;
        return TN_OK;
    }
    char list[128] = "";
    for (size_t i = 0; i < TN_COUNT(table); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%ssm_%u", i ? ", " : "", table[i].arch);
    return TN_RAISE(err, TN_ERR_ARGUMENT, "there is no target '%s'; the targets are %s", name, list);
}
