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
 * time. Nothing is allocated while running once a context has seen its largest shapes. Results do not depend on the number of threads.
 *
 * A plan for a GPU is used in the same way: inputs are copied to it, outputs back. To leave tensors there, or to run without waiting, see
 * "Devices" below. */
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
    int32_t device_index;         /* plans for a GPU: which one of this machine, from 0; -1: the first */
    int32_t inspect;              /* 1: only to look at (dump, explain, inputs, metadata): no GPU is needed, contexts cannot be made */
} TnPlanOptions;
TN_API TnPlanOptions tn_plan_options_default(void);

/* Maps and checks a plan; one for a GPU opens it and copies its constants there. Errors: IO, PLAN (damaged: what and where), VERSION,
 * INCOMPATIBLE (other kernels, CPU or GPU), DEVICE (no driver, no such GPU), MEMORY. */
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
/* Runs and waits for the results. Errors: STATE (an input has not been set), SHAPE, RUN (node, reason), MEMORY, DEVICE (the context cannot be
 * used any more; others can). */
TN_API TnStatus tn_context_run(TnContext *ctx, TnError *err);
/* View of output i of the last run; valid until the next run or destroy. Memory of the host, unless tn_context_output_on_device says not. */
TN_API TnStatus tn_context_output(TnContext *ctx, uint32_t i, TnTensor *out, TnError *err);
/* Called after every step of following runs with its outputs (NULL: off), which lie in host memory. Never changes what runs or where tensors
 * lie. nanoseconds: of the step alone; on a GPU by its own clock. */
typedef void (*TnStepFn)(void *ctx, uint32_t step, const char *node_name, const char *op, const char *kernel, const char *value_name,
                         const TnTensor *t, uint64_t nanoseconds);
TN_API void tn_context_on_step(TnContext *ctx, TnStepFn fn, void *fn_ctx);
/* Time and work of one step. */
typedef struct TnStepProfile {
    uint32_t step;             /* as on_step counts them */
    const char *node_name, *op, *kernel; /* kernel: "" for what the runtime does itself */
    const char *shapes;        /* "[8,512,768] [768,768] -> [8,512,768]" */
    TnDtype dtype;             /* of its first operand, or of its result when it has none */
    int32_t on_device;         /* 1: ran on the GPU (or is a copy to or from it) */
    uint64_t start_ns, ns;     /* since the beginning of the run; median over the runs */
    uint64_t bytes;            /* that the step must read and write, each once */
    double flops;              /* floating-point operations of products and attention; 0: none */
} TnStepProfile;
typedef void (*TnStepProfileFn)(void *ctx, const TnStepProfile *p);
/* Runs the steps of the program one by one `runs` times (1..1000) on the inputs that are set, each timed by the clock of where it runs, and calls fn
 * for every step in order. On a GPU the steps are enqueued behind other work, so that waiting for the host is no part of their times; the sum
 * is then near the time of a whole run, but for a microsecond or two a step. Errors: those of tn_context_run; REQUEST for a generator, whose
 * programs run as parts of tn_context_generate. */
TN_API TnStatus tn_context_profile(TnContext *ctx, uint32_t runs, TnStepProfileFn fn, void *fn_ctx, TnError *err);
/* Bytes of host memory that this context holds: arena, scratch and pool. */
TN_API size_t tn_context_bytes(const TnContext *ctx);
/* Makes everything that is made once a shape (memory; on a GPU the graph of the program), with the inputs that are set, so that following
 * runs with these shapes find it. Takes the time of a few runs. Errors: those of tn_context_run. */
TN_API TnStatus tn_context_warm(TnContext *ctx, TnError *err);

/* ---- Devices ----
 *
 * For plans whose device is a GPU (tn_plan_device); on a plan for the CPU these calls give TN_ERR_REQUEST unless they say otherwise. A device
 * pointer is memory of the GPU that the plan was opened on. */

/* What a plan runs on. Static and plan-owned strings. */
typedef struct TnDeviceDescription {
    const char *kind; /* "cpu", "cuda" */
    const char *name; /* "NVIDIA H200"; "" for the CPU, and when the plan was opened to be looked at */
    uint32_t index;
    uint32_t capability;     /* compute capability x 10 of the GPU (90), 0 for the CPU */
    uint32_t plan_capability; /* that the plan was built for */
    uint32_t driver, runtime; /* versions, 13000 = 13.0 */
    uint64_t memory_bytes;
    double bytes_per_second, half_flops, tf32_flops, float_flops; /* ceilings, for comparison with what is reached; 0 = unknown */
} TnDeviceDescription;
TN_API TnStatus tn_plan_device(const TnPlan *plan, TnDeviceDescription *out, TnError *err);
/* How many devices of a kind this process can use: 1 for "cpu", GPUs for "cuda". Errors: ARGUMENT (another kind), DEVICE (the GPU backend is not
 * installed or its driver does not answer; err says where was looked). */
TN_API TnStatus tn_device_count(const char *kind, uint32_t *count, TnError *err);

/* Memory of the plan's GPU, 256-byte aligned, for callers that have no CUDA of their own. Free it before the plan is closed. Errors: MEMORY
 * (bytes asked for and free), DEVICE. */
TN_API TnStatus tn_device_alloc(TnPlan *plan, size_t bytes, void **out, TnError *err);
TN_API void tn_device_free(TnPlan *plan, void *device_pointer); /* NULL allowed */
/* Copies between host and device memory on ctx's stream and waits. */
TN_API TnStatus tn_device_write(TnContext *ctx, void *device_pointer, const void *src, size_t bytes, TnError *err);
TN_API TnStatus tn_device_read(TnContext *ctx, void *dst, const void *device_pointer, size_t bytes, TnError *err);

/* As tn_context_set_input with t->data a device pointer: nothing is copied. Its contents must be there when the stream reaches the run, and stay
 * until it is over. Best 256-byte aligned. Errors: those of set_input; ARGUMENT when data is not memory of this GPU. */
TN_API TnStatus tn_context_bind_input_device(TnContext *ctx, uint32_t i, const TnTensor *t, TnError *err);
/* Output i stays on the GPU: at t->data (device memory of capacity_bytes; computed there when it is 64-byte aligned and no other operand's, else
 * copied), or, t NULL, in the context's own memory, valid until the next run. tn_context_set_output undoes it. */
TN_API TnStatus tn_context_bind_output_device(TnContext *ctx, uint32_t i, const TnTensor *t, size_t capacity_bytes, TnError *err);
/* 1: the data of tn_context_output(i) is a device pointer. */
TN_API int tn_context_output_on_device(const TnContext *ctx, uint32_t i);
/* Work goes to this cudaStream_t (NULL: the context's own stream again), which must live as long as it is set and must not be capturing. Waits
 * for what was enqueued before. */
TN_API TnStatus tn_context_set_stream(TnContext *ctx, void *cuda_stream, TnError *err);
/* Enqueues a run and returns, as a rule before it is over. Inputs must stay as they are until tn_context_synchronize; outputs on the GPU are
 * there when the stream gets to them, everything else after tn_context_synchronize, which also gives the errors of the run itself. One run is in
 * flight at a time: the next call of ctx waits for it. On a plan for the CPU it is tn_context_run. */
TN_API TnStatus tn_context_run_async(TnContext *ctx, TnError *err);
/* Waits for tn_context_run_async; TN_OK when nothing was enqueued. Errors: those of tn_context_run. */
TN_API TnStatus tn_context_synchronize(TnContext *ctx, TnError *err);
/* Bytes of device memory that this context holds; the plan's constants are not among them. 0 on a plan for the CPU. */
TN_API size_t tn_context_device_bytes(const TnContext *ctx);

/* Generation: plans of encoder-decoder models carry the loop. tn_plan_is_generator tells. */
typedef struct TnGenerateOptions {
    uint32_t size;
    uint32_t max_length;     /* tokens a line including the start token; 0: the plan's */
    uint32_t num_beams;      /* 0: the plan's; 1: greedy */
    float length_penalty;    /* NaN: the plan's */
    int32_t early_stopping;  /* -1: the plan's; 0 no, 1 yes, 2 "never" */
    uint32_t min_new_tokens; /* the stop token is not chosen before that many; benchmarks */
    int32_t inputs_on_device; /* 1: data of the inputs are device pointers; only for plans that run on a GPU */
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
