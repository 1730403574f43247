/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading and running plans. A plan is shared and immutable; a context has a frame for each program (programs call only later ones and
 * never themselves, so one is enough), an arena that its top programs share, scratch, states and a pool for tensors whose size is known
 * only while running. Binding turns shapes into addresses and checks every step with numbers; running then only calls kernels. */
#ifndef TENON_RUNTIME_RUNTIME_H
#define TENON_RUNTIME_RUNTIME_H

#include "base/threads.h"
#include "plan/check.h"
#include "plan/generation.h"
#include "plan/plan.h"
#include "tenon/runtime.h"

/* What does not depend on shapes of one step. */
typedef struct RtStep {
    TnOp op;
    const TnKernel *kernel; /* NULL: control */
    uint32_t data_mask;     /* operands whose contents the rule reads */
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
    uint32_t n_slots;    /* values in the arena */
    uint32_t max_in, max_out, n_operands;
    bool dynamic; /* some value is DYNAMIC */
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
} RtBlock;

typedef struct RtCall {
    TnTensor *in, *out;
    const void **packed;    /* NULL: none */
    const TnKernel *kernel; /* the plan's, or one that can do the bound shapes when that one cannot; NULL: control */
    bool skip;              /* a view: nothing to do */
} RtCall;

typedef struct RtFrame {
    const RtProgram *prog;
    int64_t *symbols, *exprs;
    uint8_t *symbol_known, *expr_known;
    TnTensor *t;     /* [n_values] */
    uint64_t *bytes; /* [n_values] */
    uint32_t *block; /* [n_values]: block of the pool, PLAN_NONE = none */
    /* arena layout, one entry a slot */
    uint32_t *slot_value;
    uint64_t *slot_bytes, *slot_offset;
    uint32_t *slot_first, *slot_last;
    void *arena_scratch;
    uint64_t arena_bytes;
    bool laid_out;
    RtBuffer own;    /* arena of programs called by others */
    RtBuffer *arena; /* own, or the context's */
    RtCall *calls;
    TnTensor *query_in; /* [max_in] */
    TnTensor *bound_in; /* [n_inputs]: of the last bind */
    void **user_out;    /* [n_outputs]: written directly; NULL = into the arena */
    size_t scratch;
    bool bound, top;
    const uint8_t *bound_arena;
    uint64_t bound_states; /* states_epoch */
    int64_t *preset;       /* [n_symbols] of the last bind */
    uint8_t *preset_known;
} RtFrame;

typedef struct RtState {
    RtBuffer buf;
    TnTensor t; /* rank -1: not sized yet */
} RtState;

typedef struct RtUserOut {
    void *data;
    size_t cap;
} RtUserOut;

struct RtGeneration; /* generate.c */

struct TnContext {
    TnPlan *plan;
    const TnAllocator *alloc;
    TnThreads *threads;
    TnArena *mem; /* frames and tables */
    RtFrame *frames;
    RtBuffer arena, scratch;
    RtState *states;
    uint64_t states_epoch;
    RtBlock *pool;
    uint32_t n_pool, cap_pool;
    TnTensor *inputs; /* of program 0; dtype TN_UNDEFINED = not set */
    RtUserOut *user;  /* of program 0 */
    bool ran;
    int64_t loop_limit; /* iterations of one loop, after which it fails; INT64_MAX = none (fuzzing sets it) */
    TnStepFn on_step;
    void *on_step_ctx;
    struct RtGeneration *gen;
};

/* ---- open.c ---- */
TnStatus tni_rt_open(TnSpan bytes, TnFileMap map, const TnPlanOptions *o, TnPlan **out, TnError *err); /* map is owned on success */
void tni_rt_close(TnPlan **plan);
TnStatus tni_rt_generator_find(TnPlan *plan, TnError *err); /* generator.c: fills plan->gen when the plan is one */

/* ---- context.c ---- */
TnStatus tni_rt_context_create(TnPlan *plan, uint32_t threads, const TnAllocator *a, TnContext **out, TnError *err);
void tni_rt_context_destroy(TnContext **ctx);
TnStatus tni_rt_grow(const TnContext *ctx, RtBuffer *b, size_t bytes, bool zero, TnError *err);
size_t tni_rt_context_bytes(const TnContext *ctx);

/* ---- pool.c ---- */
TnStatus tni_rt_pool_take(TnContext *ctx, size_t bytes, uint32_t *block, TnError *err);
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

/* ---- run.c, control.c ---- */
TnStatus tni_rt_run_frame(TnContext *ctx, RtFrame *f, TnError *err);
TnStatus tni_rt_control(TnContext *ctx, RtFrame *f, uint32_t step, TnError *err);
/* Program 0 on the context's inputs; outputs land where the user asked. */
TnStatus tni_rt_run(TnContext *ctx, TnError *err);

/* ---- generate.c ---- */
TnStatus tni_rt_generate(TnContext *ctx, const TnTensor *inputs, uint32_t n_inputs, const TnGenerateOptions *o, TnGenerated *results,
                         uint32_t n_results, TnError *err);
void tni_rt_generation_free(TnContext *ctx);

#endif
