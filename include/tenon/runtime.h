/* SPDX-License-Identifier: Apache-2.0
 *
 * Running plans (libtenon_rt).
 *
 *     TnPlan *plan;  TnContext *ctx;  TnError err = {0};
 *     tn_plan_open("model.plan", NULL, &plan, &err);
 *     tn_context_create(plan, NULL, &ctx, &err);
 *     tn_context_set_input(ctx, 0, &x, &err);      // once an input; data is read during run, not copied
 *     tn_context_run(ctx, &err);
 *     tn_context_output(ctx, 0, &y, &err);         // valid until the next run of ctx
 *
 * A plan is immutable and may be used by any number of contexts in any threads; it must outlive them. One context is used by one thread at a
 * time. Nothing is allocated while running once a context has seen its largest shapes. Results do not depend on the number of threads. */
#ifndef TENON_RUNTIME_H
#define TENON_RUNTIME_H

#include "tenon/hooks.h"
#include "tenon/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct TnPlan TnPlan;
typedef struct TnContext TnContext;

typedef struct TnPlanOptions {
    uint32_t size;                /* sizeof(TnPlanOptions), set by tn_plan_options_default */
    const TnAllocator *allocator; /* NULL: malloc */
    const TnLog *log;             /* NULL: silent */
    int32_t verify_weights;       /* 1: check the weights' hash too (reads the whole file) */
} TnPlanOptions;
TN_API TnPlanOptions tn_plan_options_default(void);

/* Maps and checks a plan. Errors: IO, PLAN (damaged: what and where), VERSION, INCOMPATIBLE, MEMORY. */
TN_API TnStatus tn_plan_open(const char *path, const TnPlanOptions *options, TnPlan **out, TnError *err);
/* bytes: 8-byte aligned, must outlive the plan. */
TN_API TnStatus tn_plan_open_memory(const void *bytes, size_t n, const TnPlanOptions *options, TnPlan **out, TnError *err);
TN_API void tn_plan_close(TnPlan **plan); /* nulls *plan; its contexts must be gone */

/* What an input or output is. dims[i] < 0: symbolic, its text in dim_names[i] ("batch"); min..max of the range (max INT64_MAX: unlimited). */
typedef struct TnIoInfo {
    const char *name;
    TnDtype dtype;
    int32_t rank;
    int64_t dims[TN_MAX_RANK];
    char dim_names[TN_MAX_RANK][64];
    int64_t min[TN_MAX_RANK], opt[TN_MAX_RANK], max[TN_MAX_RANK];
} TnIoInfo;
TN_API uint32_t tn_plan_input_count(const TnPlan *plan);
TN_API uint32_t tn_plan_output_count(const TnPlan *plan);
TN_API TnStatus tn_plan_input(const TnPlan *plan, uint32_t i, TnIoInfo *out, TnError *err);
TN_API TnStatus tn_plan_output(const TnPlan *plan, uint32_t i, TnIoInfo *out, TnError *err);
/* Index of a name; TN_ERR_NAME lists the names there are. */
TN_API TnStatus tn_plan_input_index(const TnPlan *plan, const char *name, uint32_t *out, TnError *err);
TN_API TnStatus tn_plan_output_index(const TnPlan *plan, const char *name, uint32_t *out, TnError *err);
/* Text dump (json != 0: JSON) and the explanation of every kernel choice. */
TN_API void tn_plan_dump(const TnPlan *plan, int json, void (*fn)(void *ctx, const char *text, size_t n), void *ctx);
TN_API void tn_plan_explain(const TnPlan *plan, int json, void (*fn)(void *ctx, const char *text, size_t n), void *ctx);
/* A metadata blob ("vocab.json", "preprocessor_config.json", ...) or NULL. Valid while the plan is open. */
TN_API const void *tn_plan_meta(const TnPlan *plan, const char *key, size_t *bytes);

typedef struct TnContextOptions {
    uint32_t size;
    uint32_t threads;             /* 0: one a core */
    const TnAllocator *allocator; /* NULL: the plan's */
} TnContextOptions;
TN_API TnContextOptions tn_context_options_default(void);

TN_API TnStatus tn_context_create(TnPlan *plan, const TnContextOptions *options, TnContext **out, TnError *err);
TN_API void tn_context_destroy(TnContext **ctx);
/* Binds input i; shape and type are checked against the declaration now, the symbols against each other at run. data must stay valid
 * and unchanged until the run is over. Errors: SHAPE, TYPE, ARGUMENT. */
TN_API TnStatus tn_context_set_input(TnContext *ctx, uint32_t i, const TnTensor *t, TnError *err);
/* Optional: where output i shall be written; t->data must hold the output's bytes, t->dims are ignored. NULL t: into the context's memory. */
TN_API TnStatus tn_context_set_output(TnContext *ctx, uint32_t i, const TnTensor *t, size_t capacity_bytes, TnError *err);
TN_API TnStatus tn_context_run(TnContext *ctx, TnError *err);
/* View of output i of the last run; valid until the next run or destroy. */
TN_API TnStatus tn_context_output(TnContext *ctx, uint32_t i, TnTensor *out, TnError *err);
/* Called after every step of following runs with its outputs (NULL: off). Never changes what runs or where tensors lie. */
typedef void (*TnStepFn)(void *ctx, uint32_t step, const char *node_name, const char *op, const char *kernel, const char *value_name,
                         const TnTensor *t, uint64_t nanoseconds);
TN_API void tn_context_on_step(TnContext *ctx, TnStepFn fn, void *fn_ctx);
/* Bytes this context holds: arena, scratch and pool. */
TN_API size_t tn_context_bytes(const TnContext *ctx);

/* Generation: plans of encoder-decoder models carry the loop. tn_plan_is_generator tells. */
typedef struct TnGenerateOptions {
    uint32_t size;
    uint32_t max_length;     /* tokens a line including the start token; 0: the plan's */
    uint32_t num_beams;      /* 0: the plan's; 1: greedy */
    float length_penalty;    /* NaN: the plan's */
    int32_t early_stopping;  /* -1: the plan's; 0 no, 1 yes, 2 "never" */
    uint32_t min_new_tokens; /* the stop token is not chosen before that many; benchmarks */
} TnGenerateOptions;
TN_API TnGenerateOptions tn_generate_options_default(void);
TN_API int tn_plan_is_generator(const TnPlan *plan);

/* Result of one line; arrays live in the context until its next call. */
typedef struct TnGenerated {
    const int32_t *tokens;   /* start token first; stop token last when it was reached */
    const float *log_probs;  /* natural log of each token's probability; [0] belongs to the start token and is 0 */
    uint32_t n;
    float score;             /* beam search: length-normalised sum of log probabilities; greedy: the plain sum */
} TnGenerated;
/* inputs: those of the encoder program in order; first dimension = number of lines. results: [lines], filled. Lines that are finished leave the
 * batch. Errors: SHAPE, TYPE, REQUEST (no generator; more lines, beams or length than the plan's states hold), MEMORY. */
TN_API TnStatus tn_context_generate(TnContext *ctx, const TnTensor *inputs, uint32_t n_inputs, const TnGenerateOptions *options,
                                    TnGenerated *results, uint32_t n_results, TnError *err);

#ifdef __cplusplus
}
#endif
#endif
