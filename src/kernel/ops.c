/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of the operators and scalar functions, expanded from ops.inc and functions.inc.
 * In: an operator, a function number or a name. Out: its row or its text. Invariant: row i of a table is enumerator i. */
#include "kernel/kernel.h"

/* Plans store parameters byte by byte and align each record to 8: the structs must be whole words. */
#define OP(name, P, min_in, max_in, min_out, max_out, flags)                                                                               \
    _Static_assert(sizeof(P) % 4 == 0 && sizeof(P) <= 1024, "parameters of " #name " are whole words, at most 1 KiB");                     \
    _Static_assert((min_in) <= (max_in) && (min_out) <= (max_out), "operand counts of " #name);
#include "kernel/ops.inc"
#undef OP

#define PURE TN_OPF_PURE
#define DATA_SHAPE TN_OPF_DATA_SHAPE
#define CONTROL TN_OPF_CONTROL
#define STATE TN_OPF_STATE
#define VIEW TN_OPF_VIEW
#define INPLACE TN_OPF_INPLACE
#define FUSED TN_OPF_FUSED

static const TnOpInfo op_table[TN_OP_COUNT] = {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) [TN_OP_##name] = {#name, sizeof(P), min_in, max_in, min_out, max_out, flags},
#include "kernel/ops.inc"
#undef OP
};

#undef PURE
#undef DATA_SHAPE
#undef CONTROL
#undef STATE
#undef VIEW
#undef INPLACE
#undef FUSED

static const char *const unary_names[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) #name,
#include "kernel/functions.inc"
#undef UNARY
};

static const char *const binary_names[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) #name,
#include "kernel/functions.inc"
#undef BINARY
};

static const char *const reduce_names[TN_REDUCE_COUNT] = {
#define REDUCE(name) #name,
#include "kernel/functions.inc"
#undef REDUCE
};

static const char *const act_names[TN_ACT_COUNT] = {"none",    "relu", "gelu", "gelu_tanh",  "tanh",
                                                    "sigmoid", "silu", "clip", "leaky_relu", "hard_swish"};

const TnOpInfo *tni_op_info(TnOp op) {
    return &op_table[op];
}

bool tni_op_find(const char *name, TnOp *out) {
    for (uint32_t i = 0; i < TN_OP_COUNT; i++) {
        if (strcmp(op_table[i].name, name) == 0) {
            *out = (TnOp)i;
            return true;
        }
    }
    return false;
}

static const uint32_t host_inputs[TN_OP_COUNT] = {
    [TN_OP_cumsum] = 1u << 1,                                /* axis */
    [TN_OP_cumprod] = 1u << 1,                               /* axis */
    [TN_OP_reduce_axes] = 1u << 1,                           /* axes */
    [TN_OP_dft] = 1u << 1 | 1u << 2,                         /* length, axis */
    [TN_OP_col2im] = 1u << 1 | 1u << 2,                      /* image, block */
    [TN_OP_random] = 1u << 0,                                /* shape */
    [TN_OP_resize] = 1u << 1 | 1u << 2 | 1u << 3,            /* roi, scales, sizes */
    [TN_OP_reshape] = 1u << 1,                               /* shape */
    [TN_OP_split] = 1u << 1,                                 /* sizes */
    [TN_OP_slice] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4,   /* starts, ends, axes, steps */
    [TN_OP_pad] = 1u << 1 | 1u << 3,                         /* pads, axes; the value stays where the data is */
    [TN_OP_expand] = 1u << 1,                                /* shape */
    [TN_OP_tile] = 1u << 1,                                  /* repeats */
    [TN_OP_one_hot] = 1u << 1,                               /* depth */
    [TN_OP_trilu] = 1u << 1,                                 /* k */
    [TN_OP_topk] = 1u << 1,                                  /* k */
    [TN_OP_non_max_suppression] = 1u << 2,                   /* max_output_boxes_per_class; the thresholds stay where the data is */
    [TN_OP_constant_of_shape] = 1u << 0,                     /* shape */
    [TN_OP_range] = 1u << 0 | 1u << 1 | 1u << 2,             /* start, limit, delta */
};

uint32_t tni_op_host_inputs(TnOp op) {
    return op < TN_OP_COUNT ? host_inputs[op] : 0;
}

const char *tni_unary_name(uint32_t fn) {
    return fn < TN_UNARY_COUNT ? unary_names[fn] : NULL;
}

const char *tni_binary_name(uint32_t fn) {
    return fn < TN_BINARY_COUNT ? binary_names[fn] : NULL;
}

const char *tni_reduce_name(uint32_t fn) {
    return fn < TN_REDUCE_COUNT ? reduce_names[fn] : NULL;
}

const char *tni_act_name(uint32_t act) {
    return act < TN_ACT_COUNT ? act_names[act] : NULL;
}
