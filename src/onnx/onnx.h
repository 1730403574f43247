/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX import: from a file to an IrModule. */
#ifndef TENON_ONNX_ONNX_H
#define TENON_ONNX_ONNX_H

#include "ir/graph.h"

typedef struct OnnxOptions {
    const TnLog *log;
    uint64_t max_nodes; /* after functions are expanded; 0: 1,000,000 */
} OnnxOptions;

/* Maps the file (and external data below its folder), checks it and builds the module; weights stay in the maps, which the module keeps.
 * Inputs get dims from their type: dim_param names become symbols, unknown dims become symbols named INPUT_AXIS. Shapes are not
 * inferred here. *model_hash: identity of the model's bytes (of the graph and, by length and name, of external data).
 * Errors: PARSE (offset), VERSION, GRAPH, UNSUPPORTED (all operators that are not supported, with their nodes, in one message), DATA, PATH,
 * LIMIT. */
TnStatus tni_onnx_import(const char *path, const OnnxOptions *o, const TnAllocator *a, IrModule **out, uint64_t *model_hash, TnError *err);
/* From memory: bytes must outlive the module; base_dir NULL refuses external data. */
TnStatus tni_onnx_import_memory(const uint8_t *bytes, size_t n, const char *base_dir, const OnnxOptions *o, const TnAllocator *a,
                                IrModule **out, uint64_t *model_hash, TnError *err);

/* Rows of the operator table, for docs/operators.md. */
typedef struct OnnxOpRow {
    const char *domain; /* "" */
    const char *op_type;
    int32_t min_opset, max_opset; /* of the operator versions handled */
    const char *ir_ops;           /* what it becomes, "gemm" */
} OnnxOpRow;
const OnnxOpRow *tni_onnx_op_rows(uint32_t *n);

#endif
