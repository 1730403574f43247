/* SPDX-License-Identifier: Apache-2.0
 *
 * einsum: sum over all labels that the output does not have of the product of the operands, straight from the definition. A repeated
 * label in an operand is its diagonal; "..." stands for the dims that the letters leave over, broadcast from the right. */
#include "backend/ref/ref.h"

#define MAX_LABELS 40 /* 52 letters cannot all occur: 4 operands of rank 8 give at most 32, plus the dims of "..." */
#define MAX_OPERANDS 4

typedef struct Einsum {
    const TnKernelCall *call;
    int32_t n_labels, n_out; /* labels [0, n_out) are the output's dims in order */
    char letter[MAX_LABELS]; /* letters; "..." dims are 1 .. 8 (8 = last) */
    int64_t size[MAX_LABELS], stride[MAX_OPERANDS][MAX_LABELS];
    uint32_t n_in;
    int64_t sum; /* elements summed into one */
} Einsum;

static int32_t label(Einsum *e, char c, bool add) {
    for (int32_t i = 0; i < e->n_labels; i++)
        if (e->letter[i] == c)
            return i;
    if (!add || e->n_labels == MAX_LABELS)
        return -1;
    e->letter[e->n_labels] = c;
    e->size[e->n_labels] = 1;
    return e->n_labels++;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Labels of the term [s, end) for a tensor of `rank`; false: not well formed or of another rank. */
static bool term(const char *s, const char *end, int32_t rank, char *out) {
    int32_t letters = 0, n = 0, dots = 0;
    for (const char *c = s; c < end; c++)
        letters += is_letter(*c);
    for (const char *c = s; c < end; c++) {
        if (is_letter(*c)) {
            if (n >= rank)
                return false;
            out[n++] = *c;
        } else if (*c == '.' && end - c >= 3 && c[1] == '.' && c[2] == '.' && dots++ == 0) {
            for (int32_t k = rank - letters; k > 0; k--) {
                if (n >= rank)
                    return false;
                out[n++] = (char)(TN_MAX_RANK + 1 - k);
            }
            c += 2;
        } else {
            return false;
        }
    }
    return n == rank;
}

static bool parse(Einsum *e) {
    const TnKernelCall *call = e->call;
    const TnEinsumParams *p = call->params;
    char labels[TN_MAX_RANK];
    const char *end = memchr(p->equation, 0, sizeof p->equation), *arrow = end == NULL ? NULL : strstr(p->equation, "->");
    if (arrow == NULL || call->n_in > MAX_OPERANDS || !term(arrow + 2, end, call->out[0].rank, labels))
        return false;
    for (int32_t d = 0; d < call->out[0].rank; d++)
        if (label(e, labels[d], true) != d) /* a label twice in the output */
            return false;
    e->n_out = e->n_labels;
    const char *s = p->equation;
    for (uint32_t i = 0; i < call->n_in; i++) {
        const TnTensor *t = &call->in[i];
        const char *stop = s;
        int64_t strides[TN_MAX_RANK];
        while (stop < arrow && *stop != ',')
            stop++;
        if (!term(s, stop, t->rank, labels))
            return false;
        tni_ref_strides(t->rank, t->dims, strides);
        for (int32_t d = 0; d < t->rank; d++) {
            int32_t l = label(e, labels[d], true);
            if (l < 0 || (t->dims[d] != 1 && e->size[l] != 1 && e->size[l] != t->dims[d]))
                return false;
            if (t->dims[d] != 1) {
                e->size[l] = t->dims[d];
                e->stride[i][l] += strides[d];
            }
        }
        if ((stop == arrow) != (i + 1 == call->n_in))
            return false;
        s = stop + 1;
    }
    for (int32_t d = 0; d < e->n_out; d++)
        if (e->size[d] != call->out[0].dims[d])
            return false;
    return true;
}

static void einsum_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Einsum *e = ctx;
    const TnTensor *y = &e->call->out[0];
    const bool exact = tni_ref_exact(y->dtype);
    const int32_t inner = e->n_labels - 1; /* the innermost summed label, if any is summed */
    const int64_t len = e->n_labels > e->n_out ? e->size[inner] : 1;
    for (int64_t o = first; o < last; o++) {
        int64_t at[MAX_OPERANDS] = {0}, idx[MAX_LABELS] = {0}, rest = o;
        for (int32_t d = e->n_out - 1; d >= 0; d--) {
            for (uint32_t i = 0; i < e->n_in; i++)
                at[i] += rest % e->size[d] * e->stride[i][d];
            rest /= e->size[d];
        }
        double sum = 0.0;
        uint64_t isum = 0;
        for (int64_t done = 0; done < e->sum; done += len) {
            for (int64_t k = 0; k < len; k++) {
                double v = 1.0;
                uint64_t iv = 1;
                for (uint32_t i = 0; i < e->n_in; i++) {
                    const TnTensor *t = &e->call->in[i];
                    int64_t from = at[i] + (len > 1 ? k * e->stride[i][inner] : 0);
                    if (exact)
                        iv *= (uint64_t)tni_load_i64(t->dtype, t->data, from);
                    else
                        v *= t->dtype == TN_F32 ? (double)((const float *)t->data)[from] : tni_load_f64(t->dtype, t->data, from);
                }
                sum += v;
                isum += iv;
            }
            for (int32_t d = inner - 1; d >= e->n_out; d--) {
                for (uint32_t i = 0; i < e->n_in; i++)
                    at[i] += e->stride[i][d];
                if (++idx[d] < e->size[d])
                    break;
                for (uint32_t i = 0; i < e->n_in; i++)
                    at[i] -= idx[d] * e->stride[i][d];
                idx[d] = 0;
            }
        }
        if (exact)
            tni_store_i64(y->dtype, y->data, o, (int64_t)isum);
        else
            tni_store_f64(y->dtype, y->data, o, sum);
    }
}

TnStatus tni_ref_einsum(TnKernelCall *call) {
    Einsum e = {.call = call, .n_in = call->n_in, .sum = 1};
    if (!parse(&e))
        return tni_ref_bad_call(call, "einsum", "an equation that does not fit its operands");
    for (int32_t d = e.n_out; d < e.n_labels; d++)
        e.sum *= e.size[d];
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), TN_MAX(1, 16384 / TN_MAX(1, TN_MIN(e.sum, 16384))), einsum_range, &e);
    return TN_OK;
}
