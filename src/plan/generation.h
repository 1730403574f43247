/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation: the contract between whoever makes the graphs of an encoder-decoder model (an importer), the planner and the runtime's loop.
 *
 * A generator is a module with two graphs, "encoder" (graph 0) and "decoder", and a metadata entry PLAN_GENERATION_KEY whose value is one
 * PlanGeneration, byte for byte. The runtime runs the encoder once, then the decoder once a token.
 *
 * Symbols (names are fixed; tni_ir_dim_symbol finds or adds them)
 *   batch      B  lines (pictures) of one call; dim 0 of the encoder's inputs
 *   rows       R  active rows of a decoder step: lines that are not finished, times beams; 1 <= R <= L
 *   lanes      L  physical lanes of the self-attention caches: B * beams
 *   positions  P  positions that a self-attention cache holds; range 1..PlanGeneration.max_positions
 *   Any symbol of other encoder dims (height, width) keeps its own name. Leave ranges alone unless the model limits them (positions): the
 *   build applies the user's ranges of batch and derives those of rows and lanes.
 *
 * States: tensors that live from the encoder's run to the end of the call. A state is a graph input or a graph output whose name starts
 *   with "state:"; the same name in two graphs is the same memory; dtype and dims (as expressions) must be equal.
 *   self-attention:  "state:self_k.N", "state:self_v.N"    f32 [lanes, positions, W]   decoder inputs; written by cache_append
 *   cross-attention: "state:cross_k.N", "state:cross_v.N"  f32 [batch, S, W]           encoder outputs and decoder inputs; S may be an
 * expression The suffix after "state:" is free as far as planner and runtime are concerned; what counts is who reads and writes it: an
 * encoder output is computed straight into the state; a decoder input is read, or written in place by cache_append. A state that nobody has
 * written holds zeros. Order: a cache_append and the attention_step that reads the same cache run in the order of the node list. Passes
 * keep STATE nodes in their order; importers emit cache_append (k, v) before the attention_step that reads them.
 *
 * Encoder: inputs are those of the call, in order ("pixel_values" f32 [batch, 3, H, W]); outputs are the cross states and any other tensor
 * that is worth looking at ("last_hidden_state"); at least one state output, whose dim 1 is the length of the cross-attention.
 *
 * Decoder: control inputs, found by name; one that a model does not need is left out. i32 each; tokens and positions may be i64.
 *   tokens        [rows, 1]          ids of the last tokens
 *   positions     [1]                index of that token in its line, 0 for the start token (table offsets are the graph's business)
 *   where         [rows, 2]          (lane, position) for cache_append: where this token's key and value go
 *   lanes         [rows, positions]  physical lane that holds position p of row r (valid for p < length), for self-attention
 *   length        [1]                valid positions, this token's included: positions + 1
 *   cross_lanes   [rows, 1]          line of each row, for cross-attention
 *   cross_length  [1]                S
 *   Output "logits" f32 [rows, V] (or [rows, 1, V]); the graph's only output apart from states.
 *
 * Lanes: position p of a row is written once, into lane (line * beams + slot), so a beam that changes its parent copies a row of the lane
 * table and never a cache. */
#ifndef TENON_PLAN_GENERATION_H
#define TENON_PLAN_GENERATION_H

#include "base/base.h"

#define PLAN_GENERATION_KEY "generation"
#define PLAN_GENERATION_VERSION 1u
#define PLAN_STATE_PREFIX "state:"
#define PLAN_GENERATION_MAX_EOS 8

typedef enum PlanEarlyStopping { PLAN_EARLY_NO, PLAN_EARLY_YES, PLAN_EARLY_NEVER } PlanEarlyStopping;

/* Little-endian, every byte defined (zero the struct first). Defaults of a call; max_positions and vocab_size bound it. */
typedef struct PlanGeneration {
    uint32_t version; /* PLAN_GENERATION_VERSION */
    uint32_t bytes;   /* sizeof(PlanGeneration) */
    char encoder[32]; /* names of the programs, NUL-terminated: "encoder", "decoder" */
    char decoder[32];
    int32_t start_id; /* decoder_start_token_id */
    int32_t pad_id;   /* < 0: none */
    uint32_t n_eos;   /* 1..PLAN_GENERATION_MAX_EOS, 0: never stops before max_length */
    int32_t eos_id[PLAN_GENERATION_MAX_EOS];
    uint32_t max_length;    /* tokens of a line, the start token included; >= 2 */
    uint32_t max_positions; /* positions that the decoder can have (table rows): max_length <= max_positions + 1 */
    uint32_t num_beams;     /* 1: greedy */
    uint32_t max_beams;     /* largest that a call may ask for; 0: no limit but memory */
    float length_penalty;
    uint32_t early_stopping;              /* PlanEarlyStopping */
    uint32_t min_new_tokens;              /* the stop tokens are not chosen before that many */
    uint32_t no_repeat_ngram;             /* no_repeat_ngram_size; 0: off */
    uint32_t vocab_size;                  /* V */
    uint32_t n_layers;                    /* decoder layers, for information */
    float repetition_penalty;             /* 1: off; applied to the logits of tokens already in the line */
    int32_t forced_bos_id, forced_eos_id; /* < 0: none. The first generated token; the last one when max_length is reached */
    uint32_t reserved[8];
} PlanGeneration;

/* Checks size, version, names, ids against vocab_size and numbers against each other; TN_ERR_PLAN with the field that is wrong. n: bytes of
 * data. */
TnStatus tni_plan_generation_read(const void *data, uint64_t n, PlanGeneration *out, TnError *err);

#endif
