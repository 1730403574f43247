/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention on the CPU. A call first packs the keys (transposed) and values of every (batch, kv head) into panels, then cuts the queries
 * of every (batch, head) into blocks of rows: a block's scores stay in the cache of the core that softmaxes them and multiplies them with
 * the values, so the score matrix never reaches memory. */
#ifndef TENON_CPU_ATTENTION_H
#define TENON_CPU_ATTENTION_H

#include "backend/cpu/gemm/gemm.h"

/* Element (b, h, s, d) of an operand is at p[b * sb + h * sh + s * ss + d * sd]. */
typedef struct TniAttnView {
    const float *p;
    int64_t sb, sh, ss, sd;
} TniAttnView;

typedef struct TniAttn {
    const TniGemmIsa *isa;
    TniAttnView q, k, v;
    TniAttnView bias[2]; /* p NULL: absent; h, s, d are head, query, key here; stride 0 where broadcast */
    float *out;
    int64_t out_sb, out_sh, out_ss;
    int64_t b, h, kv, sq, sk, d, dv;
    float scale;
    bool causal;
    /* scratch */
    float *k_packed, *v_packed;
    size_t k_floats, v_floats; /* of one (batch, kv head) */
    float *work;               /* [workers][work_floats]: scores of a block */
    size_t work_floats;
    int64_t rows, blocks; /* queries a block, blocks a head */
    int64_t ld;           /* row stride of the scores, a multiple of 16 */
} TniAttn;

/* One task of each phase: (batch, kv head) to pack; (batch, head, block of queries) to compute. */
typedef struct TniAttnIsa {
    TnTaskFn compute;
    TnTaskFn step;
} TniAttnIsa;
extern const TniAttnIsa tni_attention_isa_scalar, tni_attention_isa_avx2, tni_attention_isa_avx512;

/* One-token attention: task t handles heads [t % groups * per_group ...) of row t / groups. */
typedef struct TniAttnStep {
    const float *q, *k, *v;
    const int32_t *lanes;
    float *out;
    int64_t q_row, rows, lane_cols; /* row stride of q; columns of lanes: positions or 1 */
    int64_t positions, length, heads, d;
    float scale;
    int64_t groups, per_group;
    float *work; /* [workers][work_floats] */
    size_t work_floats;
} TniAttnStep;

#define TNI_ATTENTION_DECLARE(isa)                                                                                                         \
    TnStatus tni_attention_run_##isa(TnKernelCall *call);                                                                                  \
    size_t tni_attention_scratch_##isa(const TnKernelQuery *q);                                                                            \
    double tni_attention_cost_##isa(const TnKernelQuery *q);                                                                               \
    TnStatus tni_attention_step_run_##isa(TnKernelCall *call);                                                                             \
    double tni_attention_step_cost_##isa(const TnKernelQuery *q);
TNI_ATTENTION_DECLARE(scalar)
TNI_ATTENTION_DECLARE(avx2)
TNI_ATTENTION_DECLARE(avx512)

bool tni_attention_supports(const TnKernelQuery *q);
bool tni_attention_step_supports(const TnKernelQuery *q);
size_t tni_attention_step_scratch(const TnKernelQuery *q);
bool tni_cache_append_supports(const TnKernelQuery *q);
TnStatus tni_cache_append_run(TnKernelCall *call);
double tni_cache_append_cost(const TnKernelQuery *q);

#endif
