/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges of symbols from text: "batch=1:4:8,seq=128,height=224:448".
 * In: NAME=N | NAME=MIN:MAX | NAME=MIN:OPT:MAX, separated by commas. Out: the module's symbols; nothing changes when the text is wrong. */
#include "shape/shape.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Item {
    uint32_t symbol;
    int64_t v[3];
} Item;

static TnStatus no_symbol(const IrModule *m, const char *name, size_t n, TnError *err) {
    char list[512];
    size_t at = 0;
    list[0] = '\0';
    for (uint32_t i = 0; i < m->n_symbols; i++) {
        if (m->symbols[i].data_dependent || at + 70 > sizeof list)
            continue;
        int k = snprintf(list + at, sizeof list - at, "%s%s", at > 0 ? ", " : "", m->symbols[i].name);
        at += k > 0 ? (size_t)k : 0;
    }
    return TN_RAISE(err, TN_ERR_NAME, "no dimension is named '%.*s'; the model has %s", (int)TN_MIN(n, (size_t)100), name,
                    at > 0 ? list : "no symbolic dimensions");
}

static TnStatus bad_item(const char *s, size_t n, TnError *err) {
    return TN_RAISE(err, TN_ERR_ARGUMENT,
                    "shape range '%.*s': expected NAME=SIZE, NAME=MIN:MAX or NAME=MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX",
                    (int)TN_MIN(n, (size_t)200), s);
}

/* A decimal number in s[0, n). */
static bool parse_number(const char *s, size_t n, int64_t *out) {
    int64_t v = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || !tni_mul_i64(v, 10, &v) || !tni_add_i64(v, s[i] - '0', &v))
            return false;
    }
    *out = v;
    return true;
}

static void trim(const char **s, size_t *n) {
    while (*n > 0 && (**s == ' ' || **s == '\t')) {
        (*s)++;
        (*n)--;
    }
    while (*n > 0 && ((*s)[*n - 1] == ' ' || (*s)[*n - 1] == '\t'))
        (*n)--;
}

static TnStatus parse_item(const IrModule *m, const char *s, size_t n, Item *item, TnError *err) {
    const char *eq = NULL, *name = s;
    for (size_t i = 0; i < n; i++) { /* the last '=': names may hold one */
        if (s[i] == '=')
            eq = s + i;
    }
    if (eq == NULL)
        return bad_item(s, n, err);
    size_t name_n = (size_t)(eq - s), k = 0;
    trim(&name, &name_n);
    const char *p = eq + 1, *end = s + n;
    while (p <= end && k < 3) {
        const char *colon = memchr(p, ':', (size_t)(end - p)), *part = p;
        size_t part_n = (size_t)((colon != NULL ? colon : end) - p);
        trim(&part, &part_n);
        if (!parse_number(part, part_n, &item->v[k++]))
            return bad_item(s, n, err);
        p = colon != NULL ? colon + 1 : end + 1;
    }
    if (p <= end)
        return bad_item(s, n, err);
    if (k == 1)
        item->v[1] = item->v[2] = item->v[0];
    else if (k == 2)
        item->v[2] = item->v[1];
    if (item->v[0] < 1 || item->v[0] > item->v[1] || item->v[1] > item->v[2])
        return bad_item(s, n, err);
    for (item->symbol = 0; item->symbol < m->n_symbols; item->symbol++) {
        const TnSymbol *x = &m->symbols[item->symbol];
        if (!x->data_dependent && strlen(x->name) == name_n && memcmp(x->name, name, name_n) == 0)
            return TN_OK;
    }
    return no_symbol(m, name, name_n, err);
}

static TnStatus for_each(IrModule *m, const char *spec, bool apply, TnError *err) {
    for (const char *s = spec; *s != '\0';) {
        size_t n = strcspn(s, ",");
        const char *text = s;
        size_t text_n = n;
        Item item = {0};
        trim(&text, &text_n);
        if (text_n > 0) {
            TN_TRY(parse_item(m, text, text_n, &item, err));
            if (apply) {
                m->symbols[item.symbol].min = item.v[0];
                m->symbols[item.symbol].opt = item.v[1];
                m->symbols[item.symbol].max = item.v[2];
            }
        }
        s += n + (s[n] == ',');
    }
    return TN_OK;
}

TnStatus tni_shape_apply_ranges(IrModule *m, const char *spec, TnError *err) {
    if (spec == NULL)
        return TN_OK;
    TN_TRY(for_each(m, spec, false, err));
    return for_each(m, spec, true, err);
}
