/* SPDX-License-Identifier: Apache-2.0
 *
 * What does not depend on the ISA: the cut of a product into tasks, and the cost estimate. */
#include "backend/cpu/gemm/gemm.h"

#define TASK_COLUMNS 768   /* a task's part of B (columns x K pass) stays in a 2 MiB L2 cache */
#define TASK_ROWS 112
#define TASK_FLOPS 4.0e6   /* about 30 us: far above the cost of handing out a task */
#define TASKS_WANTED 32    /* enough to balance, where there is enough work */

TniGemmGrid tni_gemm_grid(const TniGemmIsa *isa, int64_t m, int64_t n, int64_t k) {
    TniGemmGrid g = {.m = m, .n = n, .nr = isa->nr, .tiles = tni_ceil_div(m, isa->mr), .panels = tni_ceil_div(n, isa->nr)};
    g.mb = tni_ceil_div(m, TASK_ROWS);
    g.nb = tni_ceil_div(n, TASK_COLUMNS);
    double flops = 2.0 * (double)m * (double)n * (double)k;
    double bytes = 4.0 * (double)n * (double)k; /* few rows: streaming B is the work */
    double want = TN_MIN(TN_MAX(flops / TASK_FLOPS, bytes / 262144.0), (double)TASKS_WANTED);
    while ((double)(g.mb * g.nb) < want) {
        int64_t tiles_each = g.tiles / g.mb, panels_each = g.panels / g.nb;
        if (tiles_each > 1 && (tiles_each * isa->mr >= 56 || panels_each < 8))
            g.mb++;
        else if (panels_each > 1)
            g.nb++;
        else
            break;
    }
    if (g.mb * g.nb > 1 && g.mb * g.nb % 2 != 0) { /* an odd number of equal tasks leaves one of two threads idle at the end */
        if (g.mb < g.tiles)
            g.mb++;
        if (g.mb * g.nb % 2 != 0 && g.nb < g.panels)
            g.nb++;
    }
    return g;
}

void tni_gemm_task(const TniGemmGrid *g, int64_t t, int64_t *r0, int64_t *r1, int64_t *c0, int64_t *c1) {
    int64_t i = t % g->mb, j = t / g->mb;
    *r0 = g->m * i / g->mb;
    *r1 = g->m * (i + 1) / g->mb;
    *c0 = g->panels * j / g->nb * g->nr;
    *c1 = TN_MIN(g->panels * (j + 1) / g->nb * g->nr, g->n);
}

double tni_gemm_cost(const TniGemmIsa *isa, double m, double n, double k) {
    double compute = 2.0 * m * n * k / isa->flops_per_ns, stream = 4.0 * k * n / 20.0;
    return 300.0 + TN_MAX(compute, stream) + 4.0 * m * n / 20.0;
}
