/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence: classes for all graphs, then the rewrite of each, then types and dims anew. */
#include "precision/internal.h"

#include "shape/shape.h"

bool tni_precision_kernel_fits(const TnKernel *k, const TnKernelQuery *q, const TnDeviceLibrary *lib, uint32_t math) {
    return k->op == q->op && k->device == lib->kind && q->device->arch >= k->arch_min && (!k->arch_max || q->device->arch <= k->arch_max) &&
           !(k->math & ~math) && (!k->supports || k->supports(q));
}

bool tni_precision_device_computes(const TnKernelQuery *q, const TnDeviceLibrary *lib, uint32_t math) {
    for (uint32_t i = 0; i < lib->n_kernels; i++)
        if (tni_precision_kernel_fits(&lib->kernels[i], q, lib, math))
            return true;
    return false;
}

static TnStatus graph_create(Pc *pc, uint32_t i, TnError *err) {
    PcGraph *pg = &pc->graphs[i];
    const IrGraph *g = pc->m->graphs[i];
    pg->g = pc->m->graphs[i];
    pg->id = i;
    PC_ALLOC(pc, pg->step, g->n_nodes, err);
    PC_ALLOC(pc, pg->why, g->n_nodes, err);
    PC_ALLOC(pc, pg->exact, g->n_values, err);
    PC_ALLOC(pc, pg->constant, g->n_values, err);
    PC_ALLOC(pc, pg->narrow, g->n_values, err);
    for (uint32_t v = 0; v < g->n_values; v++)
        pg->constant[v] = -1;
    return TN_OK;
}

static TnStatus apply(Pc *pc, TnError *err) {
    PC_ALLOC(pc, pc->graphs, pc->m->n_graphs, err);
    for (uint32_t i = 0; i < pc->m->n_graphs; i++)
        TN_TRY(graph_create(pc, i, err));
    TN_TRY(tni_precision_classify(pc, err));
    for (uint32_t i = 0; i < pc->m->n_graphs; i++)
        TN_TRY(tni_precision_rewrite(pc, &pc->graphs[i], err));
    TN_TRY(tni_shape_infer(pc->m, err));
    return tni_ir_verify(pc->m, err);
}

enum { MOST_TOLD = 6 };

static void tell(const Pc *pc) {
    const PrecisionReport *r = pc->report;
    const char *t = tn_dtype_name(pc->o->type);
    tni_log(pc->o->log, TN_LOG_INFO, "precision: %u of %u steps with floats compute in %s, %u casts, %llu bytes of constants", r->n_narrow,
            r->n_steps, t, r->n_casts, (unsigned long long)r->n_constant_bytes);
    if (r->n_saturated)
        tni_log(pc->o->log, TN_LOG_WARNING, "precision: %llu elements of constants are beyond the range of %s and became its largest number",
                (unsigned long long)r->n_saturated, t);
    for (uint32_t i = 0; i < r->n_notes && i < MOST_TOLD; i++)
        tni_log(pc->o->log, TN_LOG_INFO, "precision: node '%s' stays float32: %s", r->notes[i].node, r->notes[i].why);
    if (r->n_notes > MOST_TOLD)
        tni_log(pc->o->log, TN_LOG_INFO, "precision: %u more steps stay float32; tenon explain says why", r->n_notes - MOST_TOLD);
}

TnStatus tni_precision_apply(IrModule *m, const PrecisionOptions *o, PrecisionReport *report, TnError *err) {
    Pc pc = {.m = m, .o = o, .report = report};
    memset(report, 0, sizeof *report);
    if (o->type != TN_F16 && o->type != TN_BF16)
        return TN_RAISE(err, TN_ERR_INTERNAL, "precision: %s is no narrow float", tn_dtype_name(o->type));
    pc.limit = tni_precision_limit(o->type);
    pc.whole = o->type == TN_F16 ? 2048 : 256;
    TN_TRY(tni_arena_create(tni_arena_allocator(m->arena), &pc.scratch, err));
    TnStatus st = apply(&pc, err);
    tni_arena_destroy(&pc.scratch);
    if (st != TN_OK)
        return tni_error_prefix(err, st, "precision");
    tell(&pc);
    return TN_OK;
}
