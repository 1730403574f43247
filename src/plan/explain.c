/* SPDX-License-Identifier: Apache-2.0
 *
 * The explanation of every kernel choice (planner/explain.c writes it): lines of tab-separated fields in, text or JSON lines out. The
 * section is text from a file: lines that do not have the expected fields are shown as they are. */
#include "plan/print.h"

#define MAX_FIELDS 8

typedef struct Field {
    const char *s;
    size_t n;
} Field;

static uint32_t split(const char *s, size_t n, Field *f) {
    uint32_t k = 0;
    const char *end = s + n;
    while (k < MAX_FIELDS) {
        const char *tab = k + 1 < MAX_FIELDS ? memchr(s, '\t', (size_t)(end - s)) : NULL;
        f[k++] = (Field){s, (size_t)((tab ? tab : end) - s)};
        if (!tab)
            break;
        s = tab + 1;
    }
    return k;
}

static bool is(Field f, const char *s) {
    return f.n == strlen(s) && memcmp(f.s, s, f.n) == 0;
}

static void show(PlanOut *o, Field f) {
    tni_plan_out_string(o, f.s, f.n);
}

static void json_string(PlanOut *o, const char *key, Field f) {
    tni_plan_out(o, "\"%s\":\"", key);
    show(o, f);
    tni_plan_out(o, "\"");
}

/* A number of the file: digits, sign, point and exponent only, so that JSON stays JSON. */
static void json_number(PlanOut *o, const char *key, Field f) {
    bool ok = f.n > 0 && f.n < 32 && !is(f, "-") && f.s[0] >= '0' && f.s[0] <= '9' && f.s[f.n - 1] >= '0' && f.s[f.n - 1] <= '9';
    for (size_t i = 0; ok && i < f.n; i++)
        ok = (f.s[i] >= '0' && f.s[i] <= '9') || memchr("+-.e", f.s[i], 4) != NULL;
    if (ok)
        tni_plan_out(o, "\"%s\":%.*s", key, (int)f.n, f.s);
    else
        tni_plan_out(o, "\"%s\":null", key);
}

static void json_line(PlanOut *o, const Field *f, uint32_t n, bool *open, bool *first) {
    if (n >= 7 && is(f[0], "step")) {
        tni_plan_out(o, *open ? "]}\n{" : "{");
        json_string(o, "program", f[1]);
        tni_plan_out(o, ",");
        json_number(o, "step", f[2]);
        tni_plan_out(o, ",");
        json_string(o, "op", f[3]);
        tni_plan_out(o, ",");
        json_string(o, "shapes", f[4]);
        tni_plan_out(o, ",");
        json_string(o, "reason", f[5]);
        tni_plan_out(o, ",");
        json_string(o, "node", f[6]);
        tni_plan_out(o, ",\"kernels\":[");
        *open = *first = true;
    } else if (n >= 7 && *open && is(f[0], "tried")) {
        tni_plan_out(o, *first ? "{" : ",{");
        *first = false;
        json_string(o, "kernel", f[1]);
        tni_plan_out(o, ",\"chosen\":%s,", is(f[2], "1") ? "true" : "false");
        json_number(o, "cost_ns", f[3]);
        tni_plan_out(o, ",");
        json_number(o, "time_ns", f[4]);
        tni_plan_out(o, ",");
        json_number(o, "error", f[5]);
        tni_plan_out(o, ",");
        json_string(o, "note", f[6]);
        tni_plan_out(o, "}");
    }
}

static void text_line(PlanOut *o, const Field *f, uint32_t n) {
    if (n >= 7 && is(f[0], "step")) {
        show(o, f[1]);
        tni_plan_out(o, " ");
        show(o, f[2]);
        tni_plan_out(o, " ");
        show(o, f[3]);
        tni_plan_out(o, "  ");
        show(o, f[4]);
        tni_plan_out(o, "  # ");
        show(o, f[6]);
        tni_plan_out(o, "\n    ");
        show(o, f[5]);
    } else if (n >= 7 && is(f[0], "tried")) {
        tni_plan_out(o, "    %s %-40.*s estimate %10.*s ns  time %10.*s ns  error %9.*s  ", is(f[2], "1") ? "*" : " ",
                     (int)TN_MIN(f[1].n, (size_t)80), f[1].s, (int)TN_MIN(f[3].n, (size_t)20), f[3].s, (int)TN_MIN(f[4].n, (size_t)20),
                     f[4].s, (int)TN_MIN(f[5].n, (size_t)20), f[5].s);
        show(o, f[6]);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            tni_plan_out(o, i ? " " : "");
            show(o, f[i]);
        }
    }
    tni_plan_out(o, "\n");
}

void tni_plan_explain(const Plan *p, bool json, TnTextSink fn, void *ctx) {
    PlanOut o = {fn, ctx};
    const char *s = p->explain, *end = p->explain ? p->explain + p->explain_bytes : NULL;
    bool open = false, first = true;
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        Field f[MAX_FIELDS];
        uint32_t n = split(s, (size_t)((nl ? nl : end) - s), f);
        if (json)
            json_line(&o, f, n, &open, &first);
        else
            text_line(&o, f, n);
        s = nl ? nl + 1 : end;
    }
    if (open)
        tni_plan_out(&o, "]}\n");
}
