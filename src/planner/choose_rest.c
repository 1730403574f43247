/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing without the usual round: from the timing cache, by estimate, for operators that decide the shapes of their results, for steps that did
 * not run; and what happens when kernels of a device fail. */
#include "planner/internal.h"

TnStatus tni_planner_note_failure(Pn *pn, const PnCase *c, PnTried *t, const TnError *why, TnStatus st, TnError *err) {
    if (st == TN_ERR_MEMORY || st == TN_ERR_INTERNAL ||
        (st == TN_ERR_DEVICE && t->kernel->device != TN_DEVICE_CPU && tni_planner_device_lost(pn))) {
        if (err)
            *err = *why;
        return tni_error_prefix(err, st, "node '%s', kernel %s", c->name, t->kernel->name);
    }
    char *text = tni_arena_printf(pn->arena, "failed: %.200s", why->message);
    t->note = text ? text : "failed";
    return TN_OK;
}

TnStatus tni_planner_fall_short(Pn *pn, const PnCase *c, PnChoice *choice, TnError *err) {
    if (!TN_RESERVE_ONE(pn->arena, pn->unmet, pn->n_unmet, pn->cap_unmet))
        return TN_OOM(err, sizeof *pn->unmet);
    const PnTried *t = &choice->tried[0];
    const char *s = tni_arena_printf(pn->arena, "'%.80s' (%s: %s %.120s)", c->name, tni_op_info(c->op)->name, t->kernel->name, t->note);
    pn->unmet[pn->n_unmet++] = s ? s : c->name;
    choice->kernel = t->kernel;
    choice->reason = "no kernel of the device agrees with the reference";
    choice->unmet = true;
    return TN_OK;
}

void tni_planner_recall(Pn *pn, PnChoice *choice, bool *all) {
    *all = true;
    for (uint32_t i = 0; i < choice->n_tried; i++) {
        PnTried *t = &choice->tried[i];
        bool ok;
        t->cached = tni_planner_outcome_find(pn, t->kernel, choice->signature, &t->time, &t->error, &ok);
        if (t->cached)
            t->note = ok ? "ok" : "rejected by an earlier build";
        else if (t->cost <= choice->tried[0].cost * PN_TIME_RATIO || choice->tried[0].cost < 0)
            *all = false;
    }
}

TnStatus tni_planner_decide_dry(Pn *pn, PnChoice *choice, TnError *err) {
    const PnTried *best = NULL;
    bool all;
    if (pn->from_cache) {
        tni_planner_recall(pn, choice, &all);
        if (!all) {
            pn->missed = true;
            return TN_RAISE(err, TN_ERR_STATE, "not in the timing cache");
        }
        for (uint32_t i = 0; i < choice->n_tried; i++) {
            const PnTried *t = &choice->tried[i];
            if (t->cached && strcmp(t->note, "ok") == 0 && (!best || (t->time >= 0 && t->time < best->time)))
                best = t;
        }
        if (!best) {
            pn->missed = true;
            return TN_RAISE(err, TN_ERR_STATE, "nothing good in the timing cache");
        }
        choice->reason = "fastest of those that agreed with the reference in an earlier build";
        choice->verified = true;
    } else {
        best = &choice->tried[0];
        for (uint32_t i = 0; i < choice->n_tried; i++)
            choice->tried[i].note = "not verified: no device";
        choice->reason = "cheapest estimate; not verified: no device";
    }
    choice->kernel = best->kernel;
    return TN_OK;
}

/* The results of candidate t against those of the reference, which are in c->out. */
static TnStatus try_sized(Pn *pn, const PnCase *c, PnTried *t, TnError *err) {
    TnTensor *out;
    TnError why = {0};
    bool ok = true;
    PN_ALLOC(pn, out, c->n_out, err);
    for (uint32_t i = 0; i < c->n_out; i++) {
        out[i] = c->out[i];
        out[i].data = NULL;
    }
    TnStatus st = tni_planner_call(pn, t->kernel, c, out, 1, NULL, &why);
    t->error = 0;
    for (uint32_t i = 0; i < c->n_out && st == TN_OK; i++) {
        double e = 0;
        if (c->out[i].dtype == TN_UNDEFINED)
            continue;
        ok &= out[i].data && tni_planner_close(&c->out[i], &out[i], t->kernel->atol, t->kernel->rtol, &e);
        t->error = TN_MAX(t->error, e);
    }
    for (uint32_t i = 0; i < c->n_out; i++)
        tni_free(pn->alloc, out[i].data);
    t->note = ok ? "ok" : "too inexact";
    return st == TN_OK ? TN_OK : tni_planner_note_failure(pn, c, t, &why, st, err);
}

TnStatus tni_planner_choose_sized(Pn *pn, PnCase *c, const PnChoice **out, TnError *err) {
    PnChoice *choice;
    PN_ALLOC(pn, choice, 1, err);
    TN_TRY(tni_planner_candidates(pn, c, choice, err));
    *out = choice;
    if (c->on == TN_DEVICE_CPU && choice->n_tried == 1)
        return tni_planner_choose_reference(pn, c->op, "it decides the shape of its result", out, err);
    const bool dry = pn->dry && c->on != TN_DEVICE_CPU;
    choice->kernel = choice->tried[0].kernel;
    choice->reason = "cheapest estimate; not verified: no device";
    for (uint32_t i = 0; i < choice->n_tried && !dry; i++) {
        TN_TRY(try_sized(pn, c, &choice->tried[i], err));
        if (strcmp(choice->tried[i].note, "ok") != 0)
            continue;
        choice->kernel = choice->tried[i].kernel;
        choice->verified = true;
        choice->reason = "cheapest estimate of those that agree with the reference";
        return TN_OK;
    }
    return dry ? TN_OK : tni_planner_fall_short(pn, c, choice, err);
}

TnStatus tni_planner_choose_unrun(Pn *pn, const PnGraph *pg, uint32_t k, const char *reason, const PnChoice **out, TnError *err) {
    const IrNode *n = &pg->g->nodes[k];
    bool *constant;
    if (pg->on[k] == TN_DEVICE_CPU || tni_planner_is_transfer(pg, k))
        return tni_planner_choose_reference(pn, n->op, reason, out, err);
    PnCase c = {.op = n->op, .params = n->params, .n_in = n->n_in, .n_out = n->n_out, .name = n->name, .on = pg->on[k]};
    PnChoice *choice;
    PN_ALLOC(pn, c.in, n->n_in, err);
    PN_ALLOC(pn, c.out, n->n_out, err);
    PN_ALLOC(pn, constant, n->n_in, err);
    PN_ALLOC(pn, choice, 1, err);
    c.constant = constant;
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        IrValueId v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        TnTensor *t = i < n->n_in ? &c.in[i] : &c.out[i - n->n_in];
        if (v == TN_NO_VALUE)
            continue;
        tni_planner_dims(pn, &pg->g->values[v], t);
        if (i < n->n_in && (constant[i] = tni_ir_is_const(pg->g, v)))
            t->data = (void *)(uintptr_t)pg->g->values[v].data; /* a view: nobody writes through it */
    }
    TN_TRY(tni_planner_candidates(pn, &c, choice, err));
    choice->kernel = choice->tried[0].kernel;
    choice->reason = reason;
    *out = choice;
    return TN_OK;
}

/* ---- the final round ---- */

#define NEAR 1.2        /* candidates within this ratio of the fastest are timed again, in turn */
#define WORTH_NS 4000.0 /* below, the differences do not pay for it */

TnStatus tni_planner_final_round(Pn *pn, PnCase *c, PnChoice *choice, PnTried **best, TnError *err) {
    const TnKernel *k[PN_FINALISTS];
    PnTried *t[PN_FINALISTS];
    double ns[PN_FINALISTS];
    uint32_t n = 0;
    TnError why = {0};
    const double limit = (*best)->time * NEAR;
    bool cached = true;
    for (double after = -1; n < PN_FINALISTS; n++) { /* in the order of their times */
        PnTried *next = NULL;
        for (uint32_t i = 0; i < choice->n_tried; i++) {
            PnTried *x = &choice->tried[i];
            if (strcmp(x->note, "ok") == 0 && x->time > after && x->time <= limit && (!next || x->time < next->time))
                next = x;
        }
        if (!next)
            break;
        t[n] = next;
        k[n] = next->kernel;
        after = next->time;
        cached = cached && next->cached;
    }
    if (n < 2 || cached || (*best)->time < WORTH_NS)
        return TN_OK;
    TnStatus st = tni_planner_device_finals(pn, c, k, n, ns, &why);
    if (st == TN_ERR_MEMORY) /* room for one at a time only */
        return TN_OK;
    if (st != TN_OK) {
        if (err)
            *err = why;
        return st;
    }
    for (uint32_t i = 0; i < n; i++) {
        t[i]->time = ns[i];
        TN_TRY(tni_planner_outcome_add(pn, k[i], choice->signature, ns[i], t[i]->error, true, err));
        if (ns[i] < (*best)->time || i == 0)
            *best = t[i];
    }
    return TN_OK;
}
