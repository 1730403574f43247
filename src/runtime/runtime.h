/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading and running plans. A plan is shared and immutable; a context has a frame for each program (programs call only later ones and
 * never themselves, so one is enough), an arena that its top programs share, scratch, states and a pool for tensors whose size is known
 * only while running. Binding turns shapes into addresses and checks every step with numbers; running then only calls kernels.
 *
 * Plans for a device have all of this twice, once a memory; what else they need is in runtime/device.h. */
#ifndef TENON_RUNTIME_RUNTIME_H
#define TENON_RUNTIME_RUNTIME_H

#include "base/threads.h"
#include "plan/check.h"
#include "plan/generation.h"
#include "plan/plan.h"
#include "tenon/runtime.h"

/* The two memories of a plan: the host's, and that of its device. */
enum { RT_HOST, RT_DEVICE, RT_MEMORIES };

typedef enum RtTransfer { RT_NO_TRANSFER, RT_TO_DEVICE, RT_TO_HOST } RtTransfer;

/* When a step of a program that can be a graph runs: on the host before the graph is launched, in it, or on the host when it is done. */
typedef enum RtPhase { RT_BEFORE, RT_IN_GRAPH, RT_AFTER } RtPhase;

/* What does not depend on shapes of one step. */
typedef struct RtStep {
    TnOp op;
    const TnKernel *kernel; /* NULL: control or a transfer */
    const TnKernel **by_bucket; /* [buckets of the plan]: kernels there, NULL = the same; NULL: everywhere */
    struct TnModule *code;  /* of the device: generated code of this step, NULL = none */
    uint32_t data_mask;     /* operands whose contents the rule reads */
    uint32_t hidden;        /* operands that the rule would read, but that lie in the device's memory */
    uint8_t memory;         /* RT_HOST or RT_DEVICE: where it runs */
    uint8_t transfer;       /* RtTransfer: a copy between memories */
    uint8_t phase;          /* RtPhase */
    bool from_input;        /* a copy to the host of a program's input, which the host may have had all along */
    bool kept;              /* depends on shapes alone: runs once a binding (kept.c) */
    bool control;           /* if_ or loop */
    bool late;              /* dims of an operand are known only when the step is reached */
    bool check_run;         /* such contents are computed while running: checked before each call */
} RtStep;

/* What does not depend on shapes of one program. */
typedef struct RtProgram {
    const PlanProgram *g;
    const PlanValue *values;
    const PlanStep *steps;
    const RtStep *rt;
    const uint32_t *inputs, *outputs;
    uint8_t *need_expr;  /* [n_exprs]: 1 read by a value of the program, 2 also depends on a symbol that a step defines */
    uint8_t *late_value; /* [n_values] */
    uint32_t n_slots[RT_MEMORIES]; /* values in the arenas */
    uint32_t max_in, max_out, n_operands;
    bool dynamic; /* some value is DYNAMIC */
    uint8_t *kept;   /* [n_values]: results of kept steps, which have memory of their own instead of a slot */
    uint32_t n_kept; /* steps */
    /* of plans for a device (device_phase.c) */
    bool graph;                  /* can be captured: steps of the device depend on nothing that the host makes from results of the device */
    uint32_t *before, n_before;  /* steps to look at before the graph is launched, in order: on the host, to the device, or with
                                  * operands on the host that the host makes */
    uint32_t *after, n_after;    /* steps to run when it is done: on the host, to the host */
    uint32_t *stage, n_stages;   /* [n_steps]: which staging slot a transfer has, PLAN_NONE = none */
} RtProgram;

/* What generation needs to know of the two programs; indices of inputs, PLAN_NONE = the model does not have it. */
typedef struct RtGenerator {
    PlanGeneration g;
    uint32_t encoder, decoder; /* programs */
    uint32_t tokens, positions, where, lanes, length, cross_lanes, cross_length;
    uint32_t logits;      /* output of the decoder */
    uint32_t cross_state; /* a state that the encoder writes */
    uint32_t sym_batch, sym_rows, sym_lanes, sym_positions;
} RtGenerator;

struct TnPlan {
    Plan p;
    TnFileMap map;
    const TnAllocator *alloc;
    TnLog log;
    TnArena *arena; /* everything below */
    RtProgram *programs;
    RtStep *steps;
    RtGenerator *gen; /* NULL: no generator */
    struct RtDevice *device; /* device.h; NULL: a plan for the CPU, or one that was opened to be looked at */
};

typedef struct RtBuffer {
    uint8_t *p;
    size_t cap;
} RtBuffer;

/* A block of the pool. */
typedef struct RtBlock {
    uint8_t *p;
    size_t cap;
    bool used;
    uint8_t memory;
} RtBlock;

/* Slots of an arena, laid out for the largest tensors seen. */
typedef struct RtLayout {
    uint32_t n;
    uint32_t *value; /* [n], as all below */
    uint64_t *bytes, *offset;
    uint32_t *first, *last;
    void *scratch; /* for planning */
    uint64_t total;
    bool laid_out;
    RtBuffer own;         /* arena of programs called by others */
    RtBuffer *buffer;     /* own, or the context's */
    const uint8_t *bound; /* buffer->p when addresses were set; NULL: set them again */
} RtLayout;

typedef struct RtCall {
    TnTensor *in, *out;
    const void **packed;    /* NULL: none */
    const TnKernel *kernel; /* the plan's, or one that can do the bound shapes when that one cannot; NULL: control or a transfer */
    bool skip;              /* a view: nothing to do */
} RtCall;

typedef struct RtFrame {
    const RtProgram *prog;
    int64_t *symbols, *exprs;
    uint8_t *symbol_known, *expr_known;
    TnTensor *t;     /* [n_values] */
    uint64_t *bytes; /* [n_values] */
    uint32_t *block; /* [n_values]: block of the pool, PLAN_NONE = none */
    RtLayout arena[RT_MEMORIES];
    RtCall *calls;
    TnTensor *query_in; /* [max_in] */
    TnTensor *bound_in; /* [n_inputs]: of the last bind */
    void **user_out;    /* [n_outputs]: written directly; NULL = into the arena */
    size_t scratch[RT_MEMORIES];
    RtBuffer kept[RT_MEMORIES];
    bool kept_done; /* kept steps have run since shapes were bound */
    uint32_t bucket; /* of the bound shapes */
    bool bound, top;
    uint64_t bound_states; /* states_epoch */
    int64_t *preset;       /* [n_symbols] of the last bind */
    uint8_t *preset_known;
    struct RtDeviceFrame *device; /* device.h; NULL: a plan for the CPU */
} RtFrame;

typedef struct RtState {
    RtBuffer buf;
    TnTensor t;     /* rank -1: not sized yet */
    uint8_t memory; /* where buf lies */
} RtState;

typedef struct RtUserOut {
    void *data;
    size_t cap;
    bool on_device; /* data is memory of the device; without data: leave the output there */
} RtUserOut;

struct RtGeneration; /* generate.c */

struct TnContext {
    TnPlan *plan;
    const TnAllocator *alloc;
    TnThreads *threads;
    TnArena *mem; /* frames and tables */
    RtFrame *frames;
    RtBuffer arena[RT_MEMORIES], scratch[RT_MEMORIES];
    RtState *states;
    uint64_t states_epoch;
    RtBlock *pool;
    uint32_t n_pool, cap_pool;
    TnTensor *inputs; /* of program 0; dtype TN_UNDEFINED = not set */
    uint8_t *input_on_device; /* of program 0: the tensor is memory of the device */
    RtUserOut *user;  /* of program 0 */
    bool ran;
    int64_t loop_limit; /* iterations of one loop, after which it fails; INT64_MAX = none (fuzzing sets it) */
    TnStepFn on_step;
    void *on_step_ctx;
    struct RtProfile *profile; /* profile.h; NULL: off */
    struct RtGeneration *gen;
    struct RtDeviceContext *device; /* device.h; NULL: a plan for the CPU */
};

/* ---- open.c ---- */
TnStatus tni_rt_open(TnSpan bytes, TnFileMap map, const TnPlanOptions *o, TnPlan **out, TnError *err); /* map is owned on success */
void tni_rt_close(TnPlan **plan);
TnStatus tni_rt_generator_find(TnPlan *plan, TnError *err); /* generator.c: fills plan->gen when the plan is one */

/* ---- context.c ---- */
TnStatus tni_rt_context_create(TnPlan *plan, uint32_t threads, const TnAllocator *a, TnContext **out, TnError *err);
void tni_rt_context_destroy(TnContext **ctx);
TnStatus tni_rt_grow(const TnContext *ctx, RtBuffer *b, size_t bytes, bool zero, TnError *err);
/* As above in one of the memories; `what` names the buffer for errors. */
TnStatus tni_rt_grow_in(TnContext *ctx, uint32_t memory, RtBuffer *b, size_t bytes, bool zero, const char *what, TnError *err);
size_t tni_rt_context_bytes(const TnContext *ctx);

/* ---- pool.c ---- */
TnStatus tni_rt_pool_take(TnContext *ctx, uint32_t memory, size_t bytes, uint32_t *block, TnError *err);
void tni_rt_pool_give(TnContext *ctx, uint32_t *block); /* PLAN_NONE allowed; set to PLAN_NONE */

/* ---- bind.c ---- */
/* Binds a frame to inputs (in the program's order). preset: values of symbols by index where known is set, which inputs override; both
 * NULL: none. Cheap when nothing but addresses changed. Errors name the input and the symbol. */
TnStatus tni_rt_bind(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known, TnError *err);
/* A step whose operands became known while running. */
TnStatus tni_rt_bind_late(TnContext *ctx, RtFrame *f, uint32_t step, TnError *err);
/* The symbols that a step defines, from the dims of its outputs; evaluates what depends on them. */
TnStatus tni_rt_define_symbols(TnContext *ctx, RtFrame *f, uint32_t step, TnError *err);
/* Memory for a DYNAMIC output with these dims. */
TnStatus tni_rt_place_dynamic(TnContext *ctx, RtFrame *f, uint32_t value, int32_t rank, const int64_t *dims, TnError *err);
/* The contract of a step on its bound tensors. */
TnStatus tni_rt_check_step(const TnContext *ctx, const RtFrame *f, uint32_t step, TnError *err);
const char *tni_rt_step_name(const RtFrame *f, const TnContext *ctx, uint32_t step);
uint32_t tni_rt_root(const RtFrame *f, uint32_t value);
/* Gives back what running took from the pool. */
void tni_rt_release(TnContext *ctx, RtFrame *f);

/* ---- kept.c ---- */
TnStatus tni_rt_find_kept(TnPlan *plan, RtProgram *r, TnError *err);
/* Memory for what is kept, at new shapes; where it lies. */
TnStatus tni_rt_kept_memory(TnContext *ctx, RtFrame *f, TnError *err);
void tni_rt_kept_addresses(RtFrame *f);
/* Runs kept steps unless they have run with these shapes. */
TnStatus tni_rt_keep(TnContext *ctx, RtFrame *f, TnError *err);

/* ---- run.c, control.c ---- */
/* All steps in the order of the plan; what runs on a device has been enqueued, not waited for. */
TnStatus tni_rt_run_frame(TnContext *ctx, RtFrame *f, TnError *err);
/* One step, and then give_dead: what the pool holds for tensors that die with it. */
TnStatus tni_rt_run_step(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);
void tni_rt_give_dead(TnContext *ctx, RtFrame *f, uint32_t s);
TnStatus tni_rt_control(TnContext *ctx, RtFrame *f, uint32_t step, TnError *err);
/* Program 0 on the context's inputs; outputs land where the user asked. */
TnStatus tni_rt_run(TnContext *ctx, TnError *err);
/* Memory that a run of this context writes. */
bool tni_rt_in_context(const TnContext *ctx, const void *p, size_t n);
/* Every input has been set and none lies in such memory. */
TnStatus tni_rt_check_set(const TnContext *ctx, TnError *err);
/* Before a bind: what the last run wrote directly is written so only while it is still bound and apart from every input. */
void tni_rt_forget_outputs(const TnContext *ctx, RtFrame *f);
/* Decides which outputs are computed where the user wants them; binds again when that changes. inputs: as they were bound. */
TnStatus tni_rt_place_outputs(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err);
/* Outputs in host memory to where the user wants them. */
TnStatus tni_rt_copy_outputs(const TnContext *ctx, const RtFrame *f, TnError *err);
/* Calls the step hook for step s, whose outputs the host can read at t (NULL: where they are bound). */
void tni_rt_show_step(TnContext *ctx, const RtFrame *f, uint32_t s, uint64_t ns);

/* ---- work.c ---- */
/* Bytes that step s of a bound frame must move, and floating-point operations of products and attention; 0 = nothing worth counting. */
void tni_rt_work(const Plan *p, const RtFrame *f, uint32_t s, uint64_t *bytes, double *flops);

/* ---- profile.c ---- */
TnStatus tni_rt_profile(TnContext *ctx, uint32_t runs, TnStepProfileFn fn, void *fn_ctx, TnError *err);

/* ---- generate.c ---- */
TnStatus tni_rt_generate(TnContext *ctx, const TnTensor *inputs, uint32_t n_inputs, const TnGenerateOptions *o, TnGenerated *results,
                         uint32_t n_results, TnError *err);
void tni_rt_generation_free(TnContext *ctx);

#endif
