/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm and matmul through cuBLASLt. It sees matrices by columns, so ours change sides: y^T [N, M] = op(B)^T op(A)^T.
 *
 * Row i takes the i-th algorithm of cuBLASLt's list for the shape (the last one when the list is shorter): the planner times them. What a
 * shape needs (descriptors, algorithm) is made on its first call and kept with the device; later calls allocate nothing.
 *
 * In cuBLASLt: alpha, an aligned bias of N (beta 1), a residual where there is no activation. Whatever is left is done by a second kernel
 * over y (post.cu): also ReLU, since some of cuBLASLt's algorithms make 0 of NaN there. */
#include "backend/cuda/blaslt.h"
#include "backend/cuda/gemm/gemm.h"
#include "backend/cuda/gemm/matmul.h"
#include "backend/cuda/gemm/post.h"

#include <pthread.h>

#define WORKSPACE ((size_t)32 << 20)
#define MAX_ALGOS 8
#define BIAS_ALIGN 16 /* what its epilogues may need; no preference tells the heuristic about less */

/* What the descriptors depend on; compared byte by byte. */
typedef struct Key {
    int64_t m, n, k, a_ld, b_ld, a_step, b_step;
    int32_t type, tf32, a_trans, b_trans, batch, epilogue, add, align, index, pad;
} Key;

typedef struct Entry {
    Key key;
    struct Entry *next;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, y;
    cublasLtMatmulAlgo_t algos[MAX_ALGOS];
    int n_algos, at; /* at: the one in use */
} Entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define LT(expr, what) TN_TRY(tni_cuda_raise_blaslt(err, lt, (expr), what))

static TnStatus layout(const TniBlasLt *lt, cublasLtMatrixLayout_t *out, cudaDataType_t t, int64_t rows, int64_t cols, int64_t ld, int32_t batch,
                       int64_t step, TnError *err) {
    LT(lt->MatrixLayoutCreate(out, t, (uint64_t)rows, (uint64_t)cols, ld), "describing a matrix");
    if (batch > 1) {
        LT(lt->MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch), "describing a batch");
        LT(lt->MatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step), "describing a batch");
    }
    return TN_OK;
}

static TnStatus choose(const TniBlasLt *lt, Entry *e, TnError *err) {
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t found[MAX_ALGOS];
    const size_t workspace = WORKSPACE;
    const uint32_t align = (uint32_t)e->key.align;
    static const cublasLtMatmulPreferenceAttributes_t aligns[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    int n = 0;
    LT(lt->MatmulPreferenceCreate(&pref), "making a preference");
    cublasStatus_t st = lt->MatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    for (size_t i = 0; i < TN_COUNT(aligns) && st == CUBLAS_STATUS_SUCCESS; i++)
        st = lt->MatmulPreferenceSetAttribute(pref, aligns[i], &align, sizeof align);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = lt->MatmulAlgoGetHeuristic(lt->handle, e->desc, e->a, e->b, e->y, e->y, pref, MAX_ALGOS, found, &n);
    lt->MatmulPreferenceDestroy(pref);
    LT(st, "asking for algorithms");
    for (int i = 0; i < n; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS && found[i].workspaceSize <= WORKSPACE)
            e->algos[e->n_algos++] = found[i].algo;
    if (e->n_algos == 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "cuBLASLt has no algorithm for %lld x %lld x %lld", (long long)e->key.m, (long long)e->key.n,
                        (long long)e->key.k);
    e->at = TN_MIN(e->key.index, e->n_algos - 1);
    return TN_OK;
}

static TnStatus fill(const TniBlasLt *lt, Entry *e, TnError *err) {
    const Key *k = &e->key;
    cudaDataType_t t = k->type == TN_F16 ? CUDA_R_16F : k->type == TN_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasComputeType_t compute = k->tf32 != 0 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cublasOperation_t ta = k->b_trans != 0 ? CUBLAS_OP_T : CUBLAS_OP_N, tb = k->a_trans != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = (cublasLtEpilogue_t)k->epilogue;
    LT(lt->MatmulDescCreate(&e->desc, compute, CUDA_R_32F), "describing a product");
    LT(lt->MatmulDescSetAttribute(e->desc, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta), "describing a product");
    LT(lt->MatmulDescSetAttribute(e->desc, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb), "describing a product");
    LT(lt->MatmulDescSetAttribute(e->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "describing a product");
    TN_TRY(layout(lt, &e->a, t, k->b_trans != 0 ? k->k : k->n, k->b_trans != 0 ? k->n : k->k, k->b_ld, k->batch, k->b_step, err));
    TN_TRY(layout(lt, &e->b, t, k->a_trans != 0 ? k->m : k->k, k->a_trans != 0 ? k->k : k->m, k->a_ld, k->batch, k->a_step, err));
    TN_TRY(layout(lt, &e->y, t, k->n, k->m, k->n, k->batch, k->m * k->n, err));
    return choose(lt, e, err);
}

static void drop(const TniBlasLt *lt, Entry *e) {
    if (e->desc != NULL)
        lt->MatmulDescDestroy(e->desc);
    if (e->a != NULL)
        lt->MatrixLayoutDestroy(e->a);
    if (e->b != NULL)
        lt->MatrixLayoutDestroy(e->b);
    if (e->y != NULL)
        lt->MatrixLayoutDestroy(e->y);
    tni_free(NULL, e);
}

/* Under the lock. */
static TnStatus find(TniBlasLt *lt, const Key *key, Entry **out, TnError *err) {
    for (Entry *e = lt->state; e != NULL; e = e->next) {
        if (memcmp(&e->key, key, sizeof *key) == 0) {
            *out = e;
            return TN_OK;
        }
    }
    Entry *e = tni_calloc(NULL, 1, sizeof *e);
    if (e == NULL)
        return TN_OOM(err, sizeof *e);
    e->key = *key;
    TnStatus st = fill(lt, e, err);
    if (st != TN_OK) {
        drop(lt, e);
        return st;
    }
    e->next = lt->state;
    lt->state = e;
    *out = e;
    return TN_OK;
}

typedef struct Operands {
    const void *a, *b, *c, *bias;
    void *y;
    float alpha, beta;
} Operands;

/* Of what the heuristic lists, Matmul may still refuse some; it has enqueued nothing then, and the next one takes the place for good. */
static cublasStatus_t enqueue(TnKernelCall *call, const TniBlasLt *lt, Entry *e, const Operands *o) {
    cublasStatus_t st = CUBLAS_STATUS_SUCCESS;
    if (o->bias != NULL)
        st = lt->MatmulDescSetAttribute(e->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &o->bias, sizeof o->bias);
    if (st != CUBLAS_STATUS_SUCCESS)
        return st;
    for (int i = 0; i < e->n_algos; i++) {
        st = lt->Matmul(lt->handle, e->desc, &o->alpha, o->b, e->a, o->a, e->b, &o->beta, o->c, e->y, o->y, e->y, &e->algos[e->at],
                        call->scratch, WORKSPACE, call->stream->s);
        if (st != CUBLAS_STATUS_NOT_SUPPORTED)
            break;
        e->at = (e->at + 1) % e->n_algos;
    }
    return st;
}

static TnStatus multiply(TnKernelCall *call, const Key *key, const Operands *o) {
    TniBlasLt *lt;
    Entry *e = NULL;
    TnError *err = call->err;
    TN_TRY(tni_cuda_blaslt(call->stream->dev, &lt, err));
    if (call->scratch_bytes < WORKSPACE)
        return TN_RAISE(err, TN_ERR_INTERNAL, "matrix product: %zu bytes of scratch needed, %zu given", WORKSPACE, call->scratch_bytes);
    pthread_mutex_lock(&lock);
    TnStatus st = find(lt, key, &e, err);
    cublasStatus_t done = st == TN_OK ? enqueue(call, lt, e, o) : CUBLAS_STATUS_SUCCESS;
    pthread_mutex_unlock(&lock);
    return st != TN_OK ? st : tni_cuda_raise_blaslt(err, lt, done, "a matrix product");
}

static int32_t alignment_of(const Operands *o) {
    const void *all[] = {o->a, o->b, o->c, o->y};
    int32_t align = 16;
    for (size_t i = 0; i < TN_COUNT(all); i++)
        while (all[i] != NULL && !tni_is_aligned(all[i], (size_t)align))
            align /= 2;
    return align;
}

/* ---- gemm ---- */

static TnStatus gemm_run(TnKernelCall *call, int32_t index, bool tf32) {
    TniGemmShape s;
    TniEpi epi;
    const TnGemmParams *p = call->params;
    if (!tni_gemm_shape(call->params, call->in, call->n_in, &call->out[0], &s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gemm: operands that the kernel does not take");
    if (s.m * s.n == 0)
        return TN_OK;
    tni_gemm_epilogue(call, &s, &epi);
    const TniGemmB b = tni_gemm_b(call, &s);
    Operands o = {.a = call->in[0].data, .b = b.data, .y = call->out[0].data, .alpha = p->alpha};
    Key key = {.m = s.m, .n = s.n, .k = s.k, .a_ld = s.trans_a ? s.m : s.k, .b_ld = b.ld, .type = (int32_t)s.type,
               .tf32 = s.type == TN_F32 && tf32, .a_trans = s.trans_a, .b_trans = b.k_major, .batch = 1, .index = index,
               .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
    if (epi.bias_mode == TNI_BIAS_COLUMN && epi.beta == 1.0f && tni_is_aligned(epi.bias, BIAS_ALIGN)) {
        o.bias = epi.bias;
        epi.bias_mode = TNI_BIAS_NONE;
        key.epilogue = CUBLASLT_EPILOGUE_BIAS;
    }
    o.c = o.y;
    if (s.has_residual && epi.act.form == TNI_FORM_NONE) {
        o.c = epi.residual;
        o.beta = 1.0f;
        key.add = 1;
        epi.residual = NULL;
    }
    key.align = alignment_of(&o);
    TN_TRY(multiply(call, &key, &o));
    if (epi.bias_mode == TNI_BIAS_NONE && epi.act.form == TNI_FORM_NONE && epi.residual == NULL)
        return TN_OK;
    epi.alpha = 1.0f;
    return tni_gemm_post(call, s.type, o.y, s.m, s.n, &epi);
}

static bool gemm_supports(const TnKernelQuery *q, TnDtype type) {
    TniGemmShape s;
    return q->device != NULL && q->device->has_blaslt != 0 && tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s) && s.type == type && s.k > 0;
}
bool tni_cuda_gemm_lt_f16(const TnKernelQuery *q) { return gemm_supports(q, TN_F16); }
bool tni_cuda_gemm_lt_bf16(const TnKernelQuery *q) { return gemm_supports(q, TN_BF16); }
bool tni_cuda_gemm_lt_f32(const TnKernelQuery *q) { return gemm_supports(q, TN_F32); }
size_t tni_cuda_gemm_lt_scratch(const TnKernelQuery *q) {
    (void)q;
    return WORKSPACE;
}

/* Shared by both operators: m x n x k x batch; passes: times y is read or written afterwards. Later algorithms of the list are assumed
 * slower, so that without timing the first is taken. */
static double product_cost(const TnKernelQuery *q, double m, double n, double k, double batch, bool tf32, double passes, int index) {
    if (q->device == NULL)
        return 1e30;
    const double sms = (double)q->device->sm_count, size = (double)tni_size_of(q->in[0].dtype);
    double rate = q->in[0].dtype != TN_F32 ? q->device->half_flops * 0.6 : tf32 ? q->device->tf32_flops * 0.6 : q->device->float_flops * 0.75;
    double tiles = (double)(int64_t)((m + 127) / 128) * (double)(int64_t)((n + 127) / 128) * batch;
    double each = (double)(int64_t)((tiles + sms - 1) / sms);
    double fill = tiles < sms ? TN_MAX(tiles / sms, 0.35) : 1.0; /* few tiles: it takes smaller ones, or splits K */
    double ns = each * 2.0 * 128.0 * 128.0 * k / (rate * 1e-9 / sms) * fill + k * size * 0.2;
    double bandwidth = q->device->bytes_per_second * 1e-9;
    double after = passes > 0 ? 2500.0 + size * batch * m * n * passes / bandwidth : 0.0; /* nothing hides the second kernel */
    return (3500.0 + TN_MAX(ns, size * batch * (m * k + n * k + m * n) / bandwidth) + after) * (1.0 + 0.02 * index);
}

static double gemm_cost(const TnKernelQuery *q, bool tf32, int index) {
    TniGemmShape s;
    if (!tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return 1e30;
    const TnGemmParams *p = q->params;
    bool post = p->act != TN_ACT_NONE || s.bias_mode > TNI_BIAS_COLUMN;
    return product_cost(q, (double)s.m, (double)s.n, (double)s.k, 1.0, tf32, post ? 2.0 : 0.0, index);
}

/* ---- matmul ---- */

static TnStatus matmul_run(TnKernelCall *call, int32_t index, bool tf32) {
    TniProduct p;
    const TnTensor *a = &call->in[0], *b = &call->in[1];
    if (!tni_matmul_product(a, b, &p))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "matmul: operands that the kernel does not take");
    if ((int64_t)p.m * p.n * p.batch == 0)
        return TN_OK;
    const size_t size = tni_size_of(a->dtype);
    Key key = {.m = p.m, .n = p.n, .k = p.k, .a_ld = p.k, .b_ld = p.n, .a_step = p.a_step[2], .b_step = p.b_step[2],
               .type = (int32_t)a->dtype, .tf32 = a->dtype == TN_F32 && tf32, .batch = p.dims[2], .index = index,
               .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
    for (int64_t i = 0; i < (int64_t)p.dims[0] * p.dims[1]; i++) { /* batches that one step does not reach */
        int64_t i0 = i / p.dims[1], i1 = i % p.dims[1];
        Operands o = {.a = (const char *)a->data + (size_t)(i0 * p.a_step[0] + i1 * p.a_step[1]) * size,
                      .b = (const char *)b->data + (size_t)(i0 * p.b_step[0] + i1 * p.b_step[1]) * size,
                      .y = (char *)call->out[0].data + (size_t)(i * p.dims[2] * p.m * p.n) * size,
                      .alpha = 1.0f};
        o.c = o.y;
        key.align = alignment_of(&o);
        TN_TRY(multiply(call, &key, &o));
    }
    return TN_OK;
}

static bool matmul_supports(const TnKernelQuery *q, TnDtype type) {
    TniProduct p;
    return q->device != NULL && q->device->has_blaslt != 0 && q->in[0].dtype == type && q->in[1].dtype == type && q->out[0].dtype == type &&
           tni_matmul_product(&q->in[0], &q->in[1], &p) && p.k > 0 && (int64_t)p.dims[0] * p.dims[1] <= 16;
}
bool tni_cuda_matmul_lt_f16(const TnKernelQuery *q) { return matmul_supports(q, TN_F16); }
bool tni_cuda_matmul_lt_bf16(const TnKernelQuery *q) { return matmul_supports(q, TN_BF16); }
bool tni_cuda_matmul_lt_f32(const TnKernelQuery *q) { return matmul_supports(q, TN_F32); }
size_t tni_cuda_matmul_lt_scratch(const TnKernelQuery *q) {
    (void)q;
    return WORKSPACE;
}

static double matmul_cost(const TnKernelQuery *q, bool tf32, int index) {
    TniProduct p;
    if (!tni_matmul_product(&q->in[0], &q->in[1], &p))
        return 1e30;
    double calls = (double)p.dims[0] * p.dims[1];
    return product_cost(q, p.m, p.n, p.k, p.batch, tf32, 0.0, index) + (calls - 1.0) * 3500.0;
}

/* ---- rows ---- */

#define LT_DEFINE(i)                                                                                       \
    TnStatus tni_cuda_gemm_run_lt##i(TnKernelCall *call) { return gemm_run(call, i, false); }              \
    TnStatus tni_cuda_gemm_run_lt##i##_tf32(TnKernelCall *call) { return gemm_run(call, i, true); }        \
    double tni_cuda_gemm_cost_lt##i(const TnKernelQuery *q) { return gemm_cost(q, false, i); }             \
    double tni_cuda_gemm_cost_lt##i##_tf32(const TnKernelQuery *q) { return gemm_cost(q, true, i); }       \
    TnStatus tni_cuda_matmul_run_lt##i(TnKernelCall *call) { return matmul_run(call, i, false); }          \
    TnStatus tni_cuda_matmul_run_lt##i##_tf32(TnKernelCall *call) { return matmul_run(call, i, true); }    \
    double tni_cuda_matmul_cost_lt##i(const TnKernelQuery *q) { return matmul_cost(q, false, i); }         \
    double tni_cuda_matmul_cost_lt##i##_tf32(const TnKernelQuery *q) { return matmul_cost(q, true, i); }
TNI_LT_ROWS(LT_DEFINE)
