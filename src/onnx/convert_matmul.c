/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of matrix products. */
#include "onnx/convert.h"

TnStatus tni_onnx_convert_matmul(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_matmul, NULL, c->in, 2);
}

TnStatus tni_onnx_convert_gemm(OnnxCall *c) {
    TnGemmParams p;
    memset(&p, 0, sizeof p);
    p.alpha = 1;
    p.beta = 1;
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &p.alpha));
    TN_TRY(tni_onnx_attr_f32(c, "beta", &p.beta));
    TN_TRY(tni_onnx_attr_bool(c, "transA", &p.trans_a));
    TN_TRY(tni_onnx_attr_bool(c, "transB", &p.trans_b));
    if (c->opset < 7)
        (void)tni_onnx_attr(c, "broadcast"); /* allows what is always allowed since */
    return tni_onnx_emit(c, TN_OP_gemm, &p, c->in, c->n_in);
}

/* ---- Einsum: blanks out, "->" made explicit ---- */

static bool is_letter(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

/* Copies without blanks; NULL-terminates; false when it does not fit. */
static bool strip_blanks(TnSpan s, char *out, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ' ')
            continue;
        if (n + 1 >= cap)
            return false;
        out[n++] = (char)s.p[i];
    }
    out[n] = '\0';
    return true;
}

/* Terms of letters and at most one "..."; separated by commas before "->". *terms counts the operands. */
static bool well_formed(const char *eq, uint32_t *terms, bool *arrow) {
    bool dots = false;
    *terms = 1;
    *arrow = false;
    for (const char *p = eq; *p != '\0'; p++) {
        if (is_letter(*p))
            continue;
        if (*p == ',' && !*arrow) {
            ++*terms;
            dots = false;
        } else if (strncmp(p, "->", 2) == 0 && !*arrow) {
            *arrow = true;
            dots = false;
            p++;
        } else if (strncmp(p, "...", 3) == 0 && !dots) {
            dots = true;
            p += 2;
        } else {
            return false;
        }
    }
    return true;
}

/* Without "->": the ellipsis, then the letters that occur once, in ASCII order. */
static bool add_output(char *eq, size_t cap) {
    uint32_t count[128] = {0};
    bool dots = strstr(eq, "...") != NULL;
    size_t n = strlen(eq);
    for (size_t i = 0; i < n; i++)
        if (is_letter(eq[i]))
            count[(unsigned char)eq[i]]++;
    char out[64 + 8] = "->";
    size_t k = 2;
    if (dots) {
        memcpy(out + k, "...", 3);
        k += 3;
    }
    for (unsigned ch = 'A'; ch <= 'z'; ch++)
        if (count[ch] == 1)
            out[k++] = (char)ch;
    if (n + k + 1 > cap)
        return false;
    memcpy(eq + n, out, k);
    eq[n + k] = '\0';
    return true;
}

TnStatus tni_onnx_convert_einsum(OnnxCall *c) {
    TnEinsumParams p;
    memset(&p, 0, sizeof p);
    const OnnxAttr *a = tni_onnx_attr(c, "equation");
    if (a == NULL || a->kind != ONNX_ATTR_STRING)
        return ONNX_BAD(c, "attribute 'equation' is required, a string");
    uint32_t terms = 0;
    bool arrow = false;
    int shown = (int)TN_MIN(a->s.n, (size_t)100);
    const char *text = a->s.n == 0 ? "" : (const char *)a->s.p;
    if (!strip_blanks(a->s, p.equation, sizeof p.equation))
        return ONNX_UNSUPPORTED(c, "the equation '%.*s...' is longer than %zu characters", shown, text, sizeof p.equation - 1);
    if (!well_formed(p.equation, &terms, &arrow))
        return ONNX_BAD(c, "the equation '%.*s' is not of the form 'ij,jk->ik'", shown, text);
    if (terms != c->n_in)
        return ONNX_BAD(c, "the equation '%.*s' has %u terms for %u operands", shown, text, terms, c->n_in);
    if (c->n_in > 4)
        return ONNX_UNSUPPORTED(c, "has %u operands, the most is 4", c->n_in);
    if (!arrow && !add_output(p.equation, sizeof p.equation))
        return ONNX_UNSUPPORTED(c, "the equation '%.*s' is too long", shown, text);
    return tni_onnx_emit(c, TN_OP_einsum, &p, c->in, c->n_in);
}
