/* SPDX-License-Identifier: Apache-2.0
 *
 * CPU features by CPUID and XGETBV, masked by TENON_CPU and by tests. */
#include "base/cpu.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static atomic_uint process_mask = UINT32_MAX;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t machine_flags;
static char machine_name[64] = "unknown";

#define LEVEL_SCALAR 0u
#define LEVEL_AVX2 TN_CPU_AVX2
#define LEVEL_AVX512 (TN_CPU_AVX2 | TN_CPU_AVX512)

static const struct {
    const char *name;
    uint32_t mask;
} levels[] = {{"scalar", LEVEL_SCALAR}, {"avx2", LEVEL_AVX2}, {"avx512", LEVEL_AVX512}, {"native", UINT32_MAX}};

bool tni_cpu_level_parse(const char *name, uint32_t *mask) {
    for (size_t i = 0; i < TN_COUNT(levels); i++) {
        if (strcmp(name, levels[i].name) == 0) {
            *mask = levels[i].mask;
            return true;
        }
    }
    return false;
}

const char *tni_cpu_level_name(uint32_t flags) {
    return (flags & LEVEL_AVX512) == LEVEL_AVX512 ? "avx512" : (flags & LEVEL_AVX2) == LEVEL_AVX2 ? "avx2" : "scalar";
}

#if defined(__x86_64__)
static uint64_t xgetbv0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static uint32_t probe(void) {
    uint32_t a, b, c, d, flags = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0)
        return 0;
    uint32_t c1 = c;
    uint64_t xcr = xgetbv0();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return 0;
    uint32_t b7 = b, c7 = c, d7 = d;
    bool ymm = (xcr & 0x6) == 0x6, zmm = (xcr & 0xe6) == 0xe6;
    if (ymm && (c1 & bit_FMA) != 0 && (c1 & bit_F16C) != 0 && (b7 & bit_AVX2) != 0 && (b7 & bit_BMI2) != 0)
        flags |= TN_CPU_AVX2;
    uint32_t need = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL | bit_AVX512CD;
    if ((flags & TN_CPU_AVX2) != 0 && zmm && (b7 & need) == need) {
        flags |= TN_CPU_AVX512;
        if ((c7 & bit_AVX512VNNI) != 0)
            flags |= TN_CPU_VNNI;
        if ((d7 & (1u << 23)) != 0)
            flags |= TN_CPU_FP16;
        if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 5)) != 0)
            flags |= TN_CPU_BF16;
    }
    uint32_t brand[12];
    if (__get_cpuid(0x80000000u, &a, &b, &c, &d) != 0 && a >= 0x80000004u) {
        for (uint32_t i = 0; i < 3; i++)
            __get_cpuid(0x80000002u + i, &brand[i * 4], &brand[i * 4 + 1], &brand[i * 4 + 2], &brand[i * 4 + 3]);
        snprintf(machine_name, sizeof machine_name, "%.48s", (const char *)brand);
        __get_cpuid(1, &a, &b, &c, &d);
        size_t n = strlen(machine_name);
        while (n > 0 && machine_name[n - 1] == ' ')
            machine_name[--n] = '\0';
        /* Virtual machines often hide the number in the name: family/model/stepping tells machines apart. */
        snprintf(machine_name + n, sizeof machine_name - n, " (%x)", a & 0x0fff0fffu);
    }
    return flags;
}
#else
static uint32_t probe(void) { return 0; }
#endif

static void probe_once(void) {
    uint32_t mask = UINT32_MAX;
    machine_flags = probe();
    const char *env = getenv("TENON_CPU");
    if (env != NULL && env[0] != '\0') {
        if (tni_cpu_level_parse(env, &mask))
            machine_flags &= mask;
        else
            fprintf(stderr, "tenon: TENON_CPU='%s' is not one of scalar, avx2, avx512, native; ignored\n", env);
    }
}

uint32_t tni_cpu_flags(void) {
    pthread_once(&once, probe_once);
    return machine_flags & atomic_load(&process_mask);
}

void tni_cpu_mask(uint32_t mask) { atomic_store(&process_mask, mask); }

const char *tni_cpu_name(void) {
    pthread_once(&once, probe_once);
    return machine_name;
}

size_t tni_cpu_l2_bytes(void) {
    long n = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return n > 0 ? (size_t)n : (size_t)1024 * 1024;
}
