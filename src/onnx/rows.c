/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator table: rows.inc expanded for the importer and for docs, and the search by name. */
#include "onnx/convert.h"

static const OnnxRow rows[] = {
#define ROW(domain, op_type, lo, hi, min_in, max_in, max_out, fn, arg, ir)                                                                 \
    {domain, op_type, lo, hi, min_in, max_in, max_out, tni_onnx_convert_##fn, arg},
#include "onnx/rows.inc"
#undef ROW
};

static const OnnxOpRow doc_rows[] = {
#define ROW(domain, op_type, lo, hi, min_in, max_in, max_out, fn, arg, ir) {domain, op_type, lo, hi, ir},
#include "onnx/rows.inc"
#undef ROW
};

const OnnxOpRow *tni_onnx_op_rows(uint32_t *n) {
    *n = (uint32_t)TN_COUNT(doc_rows);
    return doc_rows;
}

/* Rows are sorted by op_type; those of one name follow each other. */
const OnnxRow *tni_onnx_row_find(const char *domain, const char *op_type, int64_t opset, const OnnxRow **any) {
    size_t lo = 0, hi = TN_COUNT(rows);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(rows[mid].op_type, op_type) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < TN_COUNT(rows) && strcmp(rows[lo].op_type, op_type) == 0; lo++) {
        if (strcmp(rows[lo].domain, domain) != 0)
            continue;
        if (any != NULL)
            *any = &rows[lo];
        if (opset >= rows[lo].min_opset && opset <= rows[lo].max_opset)
            return &rows[lo];
    }
    return NULL;
}
