/* SPDX-License-Identifier: Apache-2.0
 *
 * Reducing columns that lie side by side, for reduce_tmpl.h: a block of them stays in L1 while the rows go by. */
#ifndef TENON_BACKEND_CPU_REDUCE_COLUMNS_H
#define TENON_BACKEND_CPU_REDUCE_COLUMNS_H

#include "backend/cpu/reduce/runs.h"

#define COLUMNS 128
#define COLUMN_ROWS 256 /* rows added in f32 before the sums go to double */

typedef struct Columns {
    int64_t cols;
    int32_t rows;
    float part[COLUMNS];
    float best[COLUMNS]; /* maximum or minimum, NaN aside */
    float nan[COLUMNS];  /* not 0: NaN was seen */
    double sum[COLUMNS];
} Columns;

static inline void columns_start(Columns *s, uint32_t fn, int64_t cols) {
    s->cols = cols;
    s->rows = 0;
    for (int j = 0; j < COLUMNS; j++) {
        s->part[j] = s->nan[j] = 0.0f;
        s->best[j] = fn == TN_REDUCE_min ? INFINITY : -INFINITY;
        s->sum[j] = 0.0;
    }
}

static inline void columns_flush(Columns *s) {
    for (int64_t j = 0; j < s->cols; j++) {
        s->sum[j] += (double)s->part[j];
        s->part[j] = 0.0f;
    }
    s->rows = 0;
}

TN_INLINE void add_row(Columns *s, uint32_t fn, const float *x) {
    int64_t j = 0;
    for (; j + VL <= s->cols; j += VL)
        vf_store(s->part + j, vf_add(vf_load(s->part + j), term(fn, vf_load(x + j), vf_load(s->best + j))));
    if (j < s->cols) {
        int64_t n = s->cols - j;
        vf_storen(s->part + j, n, vf_add(vf_loadn(s->part + j, n), term(fn, vf_loadn(x + j, n), vf_loadn(s->best + j, n))));
    }
}

static inline void columns_add(Columns *s, uint32_t fn, const float *x) {
    if (fn == TN_REDUCE_log_sum_exp)
        add_row(s, TN_REDUCE_log_sum_exp, x);
    else if (fn == TN_REDUCE_l1)
        add_row(s, TN_REDUCE_l1, x);
    else if (squares(fn))
        add_row(s, TN_REDUCE_l2, x);
    else
        add_row(s, TN_REDUCE_sum, x);
    if (++s->rows == COLUMN_ROWS)
        columns_flush(s);
}

static inline void columns_extreme(Columns *s, const float *x, bool want_max) {
    const vf one = vf_set1(1.0f);
    for (int64_t j = 0; j < s->cols; j += VL) {
        int64_t n = TN_MIN(VL, s->cols - j);
        vf v = vf_loadn(x + j, n), b = vf_loadn(s->best + j, n);
        vf_storen(s->nan + j, n, vf_sel(vf_unord(v, v), one, vf_loadn(s->nan + j, n)));
        vf_storen(s->best + j, n, want_max ? vf_max(v, b) : vf_min(v, b));
    }
}

#endif
