/* SPDX-License-Identifier: Apache-2.0
 *
 * roi_align of one ISA: for each channel of a region sums of rows, then all bins of a row at once. */
#include "backend/cpu/detect/detect.h"
#include "backend/cpu/simd/simd.h"

#define BLOCK_BYTES 1048576 /* planes of a task's channels: they stay near while regions come and go */
#define LEAST_CHANNELS 4
#define MOST_CHANNELS 64
#define BLOCK_REGIONS 16
#define BLOCK_ROWS 7 /* rows of bins side by side: 7 and 14 are what detectors use */

typedef struct RoiCtx {
    TnRoiShape s;
    const float *rois;
    const TnTensor *batch;
    float *y;
    int64_t n, groups, block; /* regions; groups of them; channels a task */
    void *scratch;
} RoiCtx;

/* sums[out_h][cols]: rows of the map times their weights in each row of bins. */
static void add_rows(const TnRoiShape *s, const TnRoiTables *t, const float *plane) {
    const int64_t ld = s->W + TN_ROI_LANES;
    for (int64_t o = 0; o < s->out_h; o++) {
        const int32_t *row = t->row + o * s->H;
        const float *w = t->row_w + o * s->H, *x = plane + t->first_col;
        const int64_t n = t->rows[o];
        float *y = t->sums + o * ld;
        int64_t k = 0;
        for (; k + 2 * VL <= t->cols; k += 2 * VL) {
            vf a = vf_zero(), b = vf_zero();
            for (int64_t i = 0; i < n; i++) {
                const float *from = x + row[i] * s->W + k;
                const vf weight = vf_set1(w[i]);
                a = vf_fma(vf_load(from), weight, a);
                b = vf_fma(vf_load(from + VL), weight, b);
            }
            vf_store(y + k, a);
            vf_store(y + k + VL, b);
        }
        for (; k < t->cols; k += VL) {
            const int64_t lanes = TN_MIN(VL, t->cols - k);
            vf a = vf_zero();
            for (int64_t i = 0; i < n; i++)
                a = vf_fma(vf_loadn(x + row[i] * s->W + k, lanes), vf_set1(w[i]), a);
            vf_store(y + k, a); /* lanes beyond are zero, within the row's padding */
        }
    }
}

/* VL bins of `rows` rows; what is not finite makes *odd NaN. */
TN_INLINE void bins(const float *sums, int64_t ld, const float *w, int64_t pitch, int64_t from, int64_t to, float *y, int64_t step,
                    int64_t lanes, const int rows, vf *odd) {
    vf acc[BLOCK_ROWS];
    for (int r = 0; r < rows; r++)
        acc[r] = vf_zero();
    for (int64_t k = from; k < to; k++) {
        const vf weight = vf_load(w + k * pitch);
        for (int r = 0; r < rows; r++)
            acc[r] = vf_fma(vf_set1(sums[r * ld + k]), weight, acc[r]);
    }
    for (int r = 0; r < rows; r++) {
        vf_storen(y + r * step, lanes, acc[r]);
        *odd = vf_fma(acc[r], vf_zero(), *odd);
    }
}

/* All bins of a channel; false: one is not finite. */
static bool add_columns(const TnRoiShape *s, const TnRoiTables *t, float *y) {
    const int64_t ld = s->W + TN_ROI_LANES;
    vf odd = vf_zero();
    for (int64_t b = 0; b < s->out_w; b += VL) {
        int64_t from = INT32_MAX, to = 0, o = 0;
        const int64_t lanes = TN_MIN(VL, s->out_w - b);
        for (int64_t i = b; i < b + lanes; i++) {
            from = TN_MIN(from, t->from[i]);
            to = TN_MAX(to, t->to[i]);
        }
        for (; o + BLOCK_ROWS <= s->out_h; o += BLOCK_ROWS)
            bins(t->sums + o * ld, ld, t->col_w + t->first_col * t->pitch + b, t->pitch, from, to, y + o * s->out_w + b, s->out_w, lanes,
                 BLOCK_ROWS, &odd);
        for (; o < s->out_h; o++)
            bins(t->sums + o * ld, ld, t->col_w + t->first_col * t->pitch + b, t->pitch, from, to, y + o * s->out_w + b, s->out_w, lanes, 1,
                 &odd);
    }
    return !vm_any(vf_unord(odd, odd));
}

/* Task: a block of channels of a few regions. Regions change faster: the planes of a block serve them all. */
static void roi_task(void *ctx, int64_t task, uint32_t worker) {
    const RoiCtx *c = ctx;
    const TnRoiShape *s = &c->s;
    const int64_t first = task / c->groups * c->block, end = TN_MIN(first + c->block, s->channels), bins_all = s->out_h * s->out_w;
    const int64_t r0 = task % c->groups * BLOCK_REGIONS, r1 = TN_MIN(r0 + BLOCK_REGIONS, c->n);
    TnRoiTables t;
    bool ready = false;
    for (int64_t r = r0; r < r1; r++) {
        const TnRoiBox b = tni_cpu_roi_box(s, c->rois + 4 * r);
        float *y = c->y + (r * s->channels + first) * bins_all;
        if (!b.nothing && !ready) {
            tni_cpu_roi_tables_at(s, c->scratch, worker, &t);
            ready = true;
        }
        if (b.nothing || !tni_cpu_roi_weights(s, &b, &t)) {
            memset(y, 0, (size_t)((end - first) * bins_all) * sizeof *y);
            continue;
        }
        const float *plane = s->x + (tni_load_i64(c->batch->dtype, c->batch->data, r) * s->channels + first) * s->H * s->W;
        for (int64_t k = first; k < end; k++, y += bins_all, plane += s->H * s->W) {
            add_rows(s, &t, plane);
            if (!add_columns(s, &t, y))
                tni_cpu_roi_exact(s, &b, plane, y);
        }
    }
}

TnStatus TN_ISA(tni_cpu_roi)(TnKernelCall *call) {
    RoiCtx c = {.rois = call->in[1].data, .batch = &call->in[2], .y = call->out[0].data, .n = call->in[1].dims[0], .scratch = call->scratch};
    TN_TRY(tni_cpu_roi_check(call, &c.s));
    if (tn_tensor_numel(&call->out[0]) == 0)
        return TN_OK;
    if (c.s.H < 1 || c.s.W < 1) { /* nothing to sample: zeros */
        memset(c.y, 0, tn_tensor_bytes(&call->out[0]));
        return TN_OK;
    }
    c.groups = (c.n + BLOCK_REGIONS - 1) / BLOCK_REGIONS;
    c.block = BLOCK_BYTES / (c.s.H * c.s.W * (int64_t)sizeof(float));
    c.block = TN_MAX(TN_MIN(c.block, MOST_CHANNELS), LEAST_CHANNELS);
    const int64_t blocks = (c.s.channels + c.block - 1) / c.block;
    tni_parallel_for(call->threads, c.groups * blocks, roi_task, &c);
    return TN_OK;
}
