/* SPDX-License-Identifier: Apache-2.0
 *
 * What does not depend on the ISA: the cut of a product into tasks, and the cost estimate. */
#include "backend/cpu/gemm/gemm.h"

#define FEW_TILES 8       /* so few rows of A stay near the core whatever the columns */
#define TASK_PANELS 6     /* columns of a task, where there are enough: a row of tiles reads its rows of A once for all of them */
#define TASK_ROWS 768     /* more rows would push the task's part of C out of a 2 MiB L2 cache between passes through K */
#define TASK_FLOPS 4.0e6  /* about 30 us: far above the cost of handing out a task */
#define TASK_BYTES 262144 /* few rows: streaming B is the work */
#define TASKS_WANTED 16   /* enough to balance, where there is enough work */

TniGemmGrid tni_gemm_grid(const TniGemmIsa *isa, int64_t m, int64_t n, int64_t k) {
    TniGemmGrid g = {.m = m, .n = n, .nr = isa->nr, .tiles = tni_ceil_div(m, isa->mr), .panels = tni_ceil_div(n, isa->nr)};
    double flops = 2.0 * (double)m * (double)n * (double)k, bytes = 4.0 * (double)n * (double)k;
    double want = TN_MIN(TN_MAX(flops / TASK_FLOPS, bytes / TASK_BYTES), (double)TASKS_WANTED);
    int64_t least = g.tiles > FEW_TILES ? TASK_PANELS : m < 4 ? 4 : 2; /* panels: tiles of up to 3 rows take four at once */
    g.nb = TN_MAX(TN_MIN(g.panels / least, (int64_t)want), 1);
    if (g.nb > 1 && g.nb % 2 != 0) /* an odd number of equal tasks leaves one of two threads idle at the end */
        g.nb--;
    g.mb = tni_ceil_div(m, TASK_ROWS);
    while ((double)(g.mb * g.nb) < want && g.mb < g.tiles)
        g.mb++;
    if (g.mb * g.nb > 1 && g.mb * g.nb % 2 != 0 && g.mb < g.tiles)
        g.mb++;
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
