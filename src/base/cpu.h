/* SPDX-License-Identifier: Apache-2.0
 *
 * What the CPU can do, and the mask that lets one machine test every path. */
#ifndef TENON_BASE_CPU_H
#define TENON_BASE_CPU_H

#include "base/base.h"

/* Each level's flag; kernels name the flags they need. */
#define TN_CPU_AVX2 (1u << 0)   /* AVX2 + FMA + F16C + BMI2, and the OS saves the registers */
#define TN_CPU_AVX512 (1u << 1) /* F, BW, DQ, VL, CD */
#define TN_CPU_VNNI (1u << 2)   /* AVX512_VNNI */
#define TN_CPU_BF16 (1u << 3)   /* AVX512_BF16 */
#define TN_CPU_FP16 (1u << 4)   /* AVX512_FP16 */
#define TN_CPU_AMX (1u << 5)    /* AMX_TILE + AMX_BF16 + AMX_INT8, usable in this process */

/* Flags of this machine and of the environment variable TENON_CPU (scalar, avx2, avx512, native = default), and-ed with the mask. */
uint32_t tni_cpu_flags(void);
/* Restricts tni_cpu_flags for the whole process (tests). ~0u lifts it. */
void tni_cpu_mask(uint32_t mask);
/* "scalar", "avx2", "avx512" of a set of flags; static storage. */
const char *tni_cpu_level_name(uint32_t flags);
/* Inverse of tni_cpu_level_name, false for an unknown word. */
bool tni_cpu_level_parse(const char *name, uint32_t *mask);
/* Model name of the CPU ("unknown" where it cannot be read), L2 size in bytes. */
const char *tni_cpu_name(void);
size_t tni_cpu_l2_bytes(void);

#endif
