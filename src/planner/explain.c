/* SPDX-License-Identifier: Apache-2.0
 *
 * Why each kernel was chosen, as lines of tab-separated fields (plan/explain.c turns them into text or JSON):
 *   step   PROGRAM NUMBER OP SHAPES REASON NODE
 *   tried  KERNEL CHOSEN(0/1) COST_NS TIME_NS ERROR NOTE      (a number that is not known is "-")
 * Steps that share a decision point to the first: "as PROGRAM NUMBER". Steps that had to stay float32 say so after their reason. A plan for a
 * device begins with a line that names it. */
#include "planner/internal.h"

#include <stdio.h>

typedef struct Text {
    char buf[4096];
    size_t n;
} Text;

static void add(Text *t, const char *s) {
    for (; *s && t->n + 1 < sizeof t->buf; s++)
        t->buf[t->n++] = *s == '\t' || *s == '\n' ? ' ' : *s;
}

static void field(Text *t, const char *s) {
    if (t->n + 1 < sizeof t->buf)
        t->buf[t->n++] = '\t';
    add(t, s);
}

static void number(Text *t, double v, const char *format) {
    char s[40];
    snprintf(s, sizeof s, format, v);
    field(t, v < 0 ? "-" : s);
}

static TnStatus flush(Text *t, PlanWriter *w, TnError *err) {
    t->buf[t->n++] = '\n';
    TnStatus st = tni_plan_append(w, PLAN_SEC_EXPLAIN, t->buf, (uint32_t)t->n, NULL, err);
    t->n = 0;
    return st;
}

/* "float32[1,4,8] float32[8,8] -> float32[1,4,8]" at the sample shapes. */
static void shapes(const Pn *pn, const IrGraph *g, const IrNode *n, char *buf, size_t cap) {
    size_t at = 0;
    buf[0] = 0;
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        uint32_t v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        if (i == n->n_in)
            at += (size_t)snprintf(buf + at, cap - at, " ->");
        if (v != TN_NO_VALUE && cap - at > 120) {
            TnTensor t;
            char s[96];
            tni_planner_dims(pn, &g->values[v], &t);
            at += (size_t)snprintf(buf + at, cap - at, "%s%s%s", at ? " " : "", tn_dtype_name(t.dtype),
                                   tni_shape_str(s, sizeof s, t.rank, t.dims));
        }
    }
}

/* Why the node stays float32 where less was asked for, or NULL. */
static const char *why_wide(const Pn *pn, const PnGraph *pg, const IrNode *n) {
    const PrecisionReport *r = pn->o->precision;
    uint32_t o = 0;
    while (o < n->n_out && n->out[o] == TN_NO_VALUE)
        o++;
    for (uint32_t i = 0; r && o < n->n_out && i < r->n_notes; i++)
        if (r->notes[i].graph == pg->id && strcmp(r->notes[i].value, pg->g->values[n->out[o]].name) == 0)
            return r->notes[i].why;
    return NULL;
}

static TnStatus explain_device(const Pn *pn, PlanWriter *w, TnError *err) {
    const TnDeviceInfo *i = pn->o->device_info;
    const PrecisionReport *r = pn->o->precision;
    char s[400];
    Text t = {.n = 0};
    snprintf(s, sizeof s, "%s: %s, compute capability %u.%u, %s", pn->o->lib->name, i->name, i->arch / 10, i->arch % 10,
             pn->device ? "verified and timed there" : "not verified: no device");
    add(&t, s);
    if (r) {
        snprintf(s, sizeof s, "; %u of %u steps with floats narrow, %u casts", r->n_narrow, r->n_steps, r->n_casts);
        add(&t, s);
    }
    return flush(&t, w, err);
}

static TnStatus explain_step(Pn *pn, PlanWriter *w, const PnGraph *pg, uint32_t k, const PnChoice **seen, char (*where)[160],
                             uint32_t *n_seen, TnError *err) {
    Text t = {.n = 0};
    char num[16], buf[1200];
    const PnChoice *c = pg->choice[k];
    const IrNode *n = &pg->g->nodes[k];
    add(&t, "step");
    field(&t, pg->g->name);
    snprintf(num, sizeof num, "%u", k);
    field(&t, num);
    field(&t, tni_op_info(n->op)->name);
    shapes(pn, pg->g, n, buf, sizeof buf);
    field(&t, buf);
    uint32_t same = 0;
    while (same < *n_seen && (seen[same] != c || !c->n_tried))
        same++;
    if (same < *n_seen) {
        field(&t, where[same]);
        field(&t, n->name);
        return flush(&t, w, err);
    }
    const char *wide = why_wide(pn, pg, n);
    if (wide) {
        snprintf(buf, sizeof buf, "%s; float32: %s", c->reason, wide);
        field(&t, buf);
    } else {
        field(&t, c->reason);
    }
    field(&t, n->name);
    TN_TRY(flush(&t, w, err));
    if (!c->n_tried)
        return TN_OK;
    seen[*n_seen] = c;
    snprintf(where[(*n_seen)++], sizeof *where, "as %.120s %u", pg->g->name, k);
    for (uint32_t i = 0; i < c->n_tried; i++) {
        const PnTried *x = &c->tried[i];
        add(&t, "tried");
        field(&t, x->kernel->name);
        field(&t, x->kernel == c->kernel ? "1" : "0");
        number(&t, x->cost, "%.0f");
        number(&t, x->time, "%.0f");
        number(&t, x->error, "%.3g");
        field(&t, x->note);
        TN_TRY(flush(&t, w, err));
    }
    return TN_OK;
}

/* Steps that have another kernel in a bucket: "bucket batch=4: main 12 'node': kernel instead of kernel, 1200 ns, reason". */
static TnStatus explain_bucket(Pn *pn, PlanWriter *w, uint32_t b, TnError *err) {
    char name[200], s[700];
    tni_planner_bucket_name(pn, b, name, sizeof name);
    uint32_t n = 0;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        const PnGraph *pg = &pn->graphs[pn->order[i]];
        for (uint32_t k = 0; k < pg->g->n_nodes; k++) {
            const PnChoice *c = tni_planner_in_bucket(pg, b, k);
            Text t = {.n = 0};
            if (!c)
                continue;
            double ns = -1;
            for (uint32_t x = 0; x < c->n_tried; x++)
                ns = c->tried[x].kernel == c->kernel ? (c->tried[x].time >= 0 ? c->tried[x].time : c->tried[x].cost) : ns;
            snprintf(s, sizeof s, "bucket %s: %.100s %u '%.120s': %s instead of %s, %.0f ns, %s", name, pg->g->name, k, pg->g->nodes[k].name,
                     c->kernel->name, pg->choice[k]->kernel->name, ns, c->reason);
            add(&t, s);
            TN_TRY(flush(&t, w, err));
            n++;
        }
    }
    Text t = {.n = 0};
    snprintf(s, sizeof s, "bucket %s: %u steps have another kernel than at the opt sizes", name, n);
    add(&t, s);
    return flush(&t, w, err);
}

TnStatus tni_planner_explain(Pn *pn, PlanWriter *w, TnError *err) {
    const PnChoice **seen;
    char(*where)[160];
    uint32_t n_seen = 0;
    PN_ALLOC(pn, seen, pn->n_choices, err);
    PN_ALLOC(pn, where, pn->n_choices, err);
    if (pn->o->lib)
        TN_TRY(explain_device(pn, w, err));
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        const PnGraph *pg = &pn->graphs[pn->order[i]];
        for (uint32_t k = 0; k < pg->g->n_nodes; k++)
            TN_TRY(explain_step(pn, w, pg, k, seen, where, &n_seen, err));
    }
    for (uint32_t b = 0; b < pn->n_buckets; b++)
        TN_TRY(explain_bucket(pn, w, b, err));
    return TN_OK;
}
