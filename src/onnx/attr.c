/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes of the node being converted, with their kinds and ranges checked. */
#include "base/dtype.h"
#include "onnx/convert.h"

#include <stdarg.h>
#include <stdio.h>

TnStatus tni_onnx_fail(const OnnxCall *c, TnStatus code, const char *fmt, ...) {
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tni_raise_node(c->err, code, c->name, "%.80s: %s", c->op, text);
}

const OnnxAttr *tni_onnx_attr(OnnxCall *c, const char *name) {
    for (uint32_t i = 0; i < c->n_attrs; i++) {
        if (strcmp(tni_onnx_text(&c->imp->model.names, c->attrs[i].name), name) == 0) {
            c->attrs_read |= i < 64 ? (uint64_t)1 << i : 0;
            return &c->attrs[i];
        }
    }
    return NULL;
}

bool tni_onnx_has_attr(OnnxCall *c, const char *name) {
    return tni_onnx_attr(c, name) != NULL;
}

static TnStatus expect(OnnxCall *c, const OnnxAttr *a, OnnxAttrKind kind, const char *name) {
    if (a->kind == kind)
        return TN_OK;
    return ONNX_BAD(c, "attribute '%s' is of kind %s, expected %s", name, tni_onnx_attr_kind_name(a->kind), tni_onnx_attr_kind_name(kind));
}

TnStatus tni_onnx_attr_i64(OnnxCall *c, const char *name, int64_t *out) {
    const OnnxAttr *a = tni_onnx_attr(c, name);
    if (a == NULL)
        return TN_OK;
    TN_TRY(expect(c, a, ONNX_ATTR_INT, name));
    *out = a->i;
    return TN_OK;
}

TnStatus tni_onnx_attr_i32(OnnxCall *c, const char *name, int64_t min, int64_t max, int32_t *out) {
    int64_t v = *out;
    TN_TRY(tni_onnx_attr_i64(c, name, &v));
    if (v < min || v > max)
        return ONNX_BAD(c, "attribute '%s' is %lld, expected %lld..%lld", name, (long long)v, (long long)min, (long long)max);
    *out = (int32_t)v;
    return TN_OK;
}

TnStatus tni_onnx_attr_bool(OnnxCall *c, const char *name, uint32_t *out) {
    int64_t v = *out;
    TN_TRY(tni_onnx_attr_i64(c, name, &v));
    *out = v != 0;
    return TN_OK;
}

TnStatus tni_onnx_attr_f32(OnnxCall *c, const char *name, float *out) {
    const OnnxAttr *a = tni_onnx_attr(c, name);
    if (a == NULL)
        return TN_OK;
    TN_TRY(expect(c, a, ONNX_ATTR_FLOAT, name));
    *out = a->f;
    return TN_OK;
}

TnStatus tni_onnx_attr_word(OnnxCall *c, const char *name, const char *const *words, uint32_t n_words, uint32_t *out) {
    const OnnxAttr *a = tni_onnx_attr(c, name);
    if (a == NULL)
        return TN_OK;
    TN_TRY(expect(c, a, ONNX_ATTR_STRING, name));
    for (uint32_t i = 0; i < n_words; i++) {
        if (a->s.n == strlen(words[i]) && (a->s.n == 0 || memcmp(a->s.p, words[i], a->s.n) == 0)) {
            *out = i;
            return TN_OK;
        }
    }
    char list[400] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < n_words && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", words[i]);
    return ONNX_UNSUPPORTED(c, "attribute '%s' is '%.*s'; supported: %s", name, (int)TN_MIN(a->s.n, (size_t)60),
                            a->s.n == 0 ? "" : (const char *)a->s.p, list);
}

TnStatus tni_onnx_attr_ints(OnnxCall *c, const char *name, const int64_t **out, uint32_t *n) {
    const OnnxAttr *a = tni_onnx_attr(c, name);
    if (a == NULL)
        return TN_OK;
    TN_TRY(expect(c, a, ONNX_ATTR_INTS, name));
    *out = a->ints;
    *n = a->n_ints;
    return TN_OK;
}

TnStatus tni_onnx_attr_floats(OnnxCall *c, const char *name, const float **out, uint32_t *n) {
    const OnnxAttr *a = tni_onnx_attr(c, name);
    if (a == NULL)
        return TN_OK;
    TN_TRY(expect(c, a, ONNX_ATTR_FLOATS, name));
    *out = a->floats;
    *n = a->n_floats;
    return TN_OK;
}

TnStatus tni_onnx_attr_i32s(OnnxCall *c, const char *name, int64_t lo, int64_t hi, int32_t *out, uint32_t max, uint32_t *n) {
    const int64_t *v = NULL;
    *n = 0;
    TN_TRY(tni_onnx_attr_ints(c, name, &v, n));
    if (*n > max)
        return ONNX_UNSUPPORTED(c, "attribute '%s' has %u numbers, the most is %u", name, *n, max);
    for (uint32_t i = 0; i < *n; i++) {
        if (v[i] < lo || v[i] > hi)
            return ONNX_BAD(c, "attribute '%s' holds %lld, expected %lld..%lld", name, (long long)v[i], (long long)lo, (long long)hi);
        out[i] = (int32_t)v[i];
    }
    return TN_OK;
}

TnStatus tni_onnx_attr_axis(OnnxCall *c, const char *name, int32_t *out) {
    return tni_onnx_attr_i32(c, name, -TN_MAX_RANK, TN_MAX_RANK - 1, out);
}

TnStatus tni_onnx_attr_dtype(OnnxCall *c, const char *name, uint32_t *out) {
    int64_t v = *out;
    TN_TRY(tni_onnx_attr_i64(c, name, &v));
    if (v != 0 && (!tni_dtype_valid(v) || v == TN_STRING || v == TN_C64 || v == TN_C128))
        return ONNX_UNSUPPORTED(c, "attribute '%s' asks for element type %lld (%s), which is not supported", name, (long long)v,
                                tni_dtype_valid(v) ? tn_dtype_name((TnDtype)v) : "unknown");
    *out = (uint32_t)v;
    return TN_OK;
}
