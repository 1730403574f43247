/* SPDX-License-Identifier: Apache-2.0
 *
 * Making graphs from checkpoint tensors: layers as architectures speak of them. The first failure sticks: every later call returns
 * TN_NO_VALUE at once, and `st` and *err tell what happened; missing or misshapen tensors are collected so that one message names all. */
#ifndef TENON_HF_EMIT_H
#define TENON_HF_EMIT_H

#include "hf/safetensors.h"
#include "ir/graph.h"

typedef struct HfEmit {
    IrModule *m;
    IrGraph *g; /* the graph being built */
    HfCheckpoint *c;
    TnStatus st;
    TnError *err;
    char prefix[160]; /* put before every tensor name: "encoder.encoder.layer.3." */
    char problems[1200]; /* missing and misshapen tensors, one a line */
    uint32_t n_problems;
    const char *kind; /* what the tensors should fit; NULL: "its config.json" */
    bool strict;      /* tensors that nothing used are an error */
} HfEmit;

/* Sets the prefix of tensor and node names. */
void tni_hf_prefix(HfEmit *e, const char *fmt, ...) TN_PRINTF(2, 3);
/* true when tensor prefix+name exists (not marked as used). */
bool tni_hf_has(HfEmit *e, const char *name);

/* Tensor prefix+name as an f32 value of exactly these dims (rank 0..4; dims[i] < 0: any); f16, bf16 and f64 get a cast, which folding
 * performs at build. Absent or misshapen: noted in problems. */
IrValueId tni_hf_weight(HfEmit *e, const char *name, int32_t rank, const int64_t *dims);
/* f32 constant computed by the importer; data is copied. */
IrValueId tni_hf_const(HfEmit *e, const char *name, int32_t rank, const int64_t *dims, const float *data);

/* One node with one output. name is put behind the prefix. */
IrValueId tni_hf_node(HfEmit *e, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in);
IrValueId tni_hf_unary(HfEmit *e, const char *name, TnUnaryFn fn, IrValueId x);
IrValueId tni_hf_binary(HfEmit *e, const char *name, TnBinaryFn fn, IrValueId a, IrValueId b);
/* x W^T + bias: weight prefix+name+".weight" [out, in], ".bias" [out] unless !bias. */
IrValueId tni_hf_linear(HfEmit *e, const char *name, IrValueId x, int64_t in, int64_t out, bool bias);
/* Several linears of the same input side by side: [.., n * out]. A missing bias of one becomes zeros when another has one. */
IrValueId tni_hf_linear_merged(HfEmit *e, const char *const *names, uint32_t n, IrValueId x, int64_t in, int64_t out, bool bias);
/* Over the last axis: ".weight", ".bias" [width]. */
IrValueId tni_hf_layer_norm(HfEmit *e, const char *name, IrValueId x, int64_t width, float eps);
IrValueId tni_hf_transpose(HfEmit *e, const char *name, IrValueId x, const uint8_t *perm, uint32_t rank);
/* Reshape to dims given as symbolic dims (<= 8). */
IrValueId tni_hf_reshape(HfEmit *e, const char *name, IrValueId x, const TnDim *dims, uint32_t rank);
IrValueId tni_hf_expand(HfEmit *e, const char *name, IrValueId x, const TnDim *dims, uint32_t rank);
/* Indices [from, to) of one axis. */
IrValueId tni_hf_slice(HfEmit *e, const char *name, IrValueId x, int64_t axis, int64_t from, int64_t to);
/* The same with symbolic bounds. */
IrValueId tni_hf_slice_dims(HfEmit *e, const char *name, IrValueId x, int64_t axis, TnDim from, TnDim to);
/* An int64 vector of symbolic dims (<= TN_DIMS_MAX). */
IrValueId tni_hf_dims(HfEmit *e, const char *name, const TnDim *dims, uint32_t n);
/* The k [1] largest (or smallest) along an axis, in order: out[0] values, out[1] indices. */
void tni_hf_topk(HfEmit *e, const char *name, IrValueId x, IrValueId k, int32_t axis, bool largest, IrValueId out[2]);
IrValueId tni_hf_concat(HfEmit *e, const char *name, const IrValueId *in, uint32_t n, int32_t axis);
/* Graph input / output with dtype and dims. */
IrValueId tni_hf_input(HfEmit *e, const char *name, TnDtype t, const TnDim *dims, int32_t rank);
void tni_hf_output(HfEmit *e, const char *name, IrValueId v);

/* The activation of config.json ("gelu", "relu", ...); TN_ERR_UNSUPPORTED names the field and those there are. */
TnStatus tni_hf_activation(const char *where, const char *name, TnUnaryFn *out, TnError *err);
/* Raises TN_ERR_DATA with all collected problems, or the sticky failure. Tensors that nothing used: with strict an error, else a warning; by name. */
TnStatus tni_hf_finish(HfEmit *e, const TnLog *log);

#endif
