/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor payloads, and the files that hold those which are not in the model's own file. */
#ifndef TENON_ONNX_TENSOR_H
#define TENON_ONNX_TENSOR_H

#include "base/span.h"
#include "onnx/model.h"

/* The maps that the module keeps: of the model and of external data, each file once. */
typedef struct OnnxFiles {
    const TnAllocator *alloc;
    const TnLog *log;
    char *base_dir; /* NULL: external data is refused */
    TnFileMap model;
    struct OnnxExternal {
        char *location;
        TnFileMap map;
    } * external;
    uint32_t n, cap;
    uint64_t hash; /* over the names and lengths of external files, in the order of first use */
} OnnxFiles;

/* base_dir is copied; NULL: none. TN_ERR_MEMORY. */
TnStatus tni_onnx_files_create(const TnAllocator *a, const TnLog *log, const char *base_dir, OnnxFiles **out, TnError *err);
/* Unmaps and frees; an IrModule.keep_release. */
void tni_onnx_files_destroy(void *files);

/* Sets t->data: `bytes` bytes inside an external file. Errors: PATH, IO, DATA (outside the file), MEMORY. */
TnStatus tni_onnx_external_data(OnnxTensor *t, const char *name, size_t bytes, OnnxFiles *files, TnError *err);
/* Sets t->data and t->ready; checks type, shape and length. Converted payloads live in `arena`. `name` is for messages. Errors: GRAPH,
 * DATA, UNSUPPORTED, LIMIT, PATH, IO, MEMORY. */
TnStatus tni_onnx_tensor_data(OnnxTensor *t, const char *name, OnnxFiles *files, TnArena *arena, TnError *err);

#endif
