/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the planner share. The order of work (planner.c): states and outputs get values of their own (prepare.c); steps that the
 * device computes together become one (fuse.c); steps go to the device or stay on the host, with copies between (place.c); the graph is run
 * step by step on sample inputs, choosing and verifying a kernel for each step (run.c, choose.c, device.c, compare.c, timing.c); lives, views
 * and slots (memory.c); records and packed constants (emit.c). */
#ifndef TENON_PLANNER_INTERNAL_H
#define TENON_PLANNER_INTERNAL_H

#include "plan/check.h"
#include "plan/generation.h"
#include "plan/plan.h"
#include "planner/planner.h"

/* One kernel that was considered for a step. */
typedef struct PnTried {
    const TnKernel *kernel;
    double cost;      /* ns, estimated; < 0: none */
    double time;      /* ns, measured; < 0: not timed */
    double error;     /* largest |y - ref| / max|ref|; < 0: not compared */
    bool cached;      /* device: time, error and note are of an earlier build */
    const char *note; /* "ok", "reference", "too inexact", "failed: ...", "not needed", ... */
} PnTried;

/* What was decided for steps of one signature. */
typedef struct PnChoice {
    uint64_t signature, key; /* of the case; and of what it was decided under */
    const TnKernel *kernel;
    const TnKernel *bound; /* the choice at opt, whose packing this one keeps; NULL: this is one at opt */
    PnTried *tried;
    uint32_t n_tried;
    const char *reason;
    bool verified;
    bool unmet; /* no kernel of the device is good enough: the build will fail */
} PnChoice;

/* Where the time of a build goes. */
typedef enum PnPhase { PN_REFERENCE, PN_COMPARE, PN_DEVICE, PN_COPIES, PN_TIMING, PN_PHASES } PnPhase;

typedef struct PnTimings PnTimings; /* timing.c */
typedef struct PnDevice PnDevice;   /* device.c */

/* Generated code of a step. */
typedef struct PnCode {
    uint64_t hash; /* of the source */
    const char *source;
    size_t source_bytes; /* with its NUL */
    void *binary;        /* NULL: there is no compiler here */
    size_t binary_bytes;
    TnModule *module; /* loaded, where there is a device */
} PnCode;

typedef struct PnGraph {
    IrGraph *g;
    IrGraphId id;
    uint32_t program;
    const PnChoice **choice; /* [n_nodes] */
    const PnChoice **at_opt; /* while kernels of a bucket are chosen: the choices at opt; else NULL */
    const PnChoice **bucket[PLAN_MAX_BUCKETS]; /* buckets.c */
    /* place.c */
    uint8_t *on;   /* [n_nodes]: TnDeviceKind that runs the node */
    uint8_t *home; /* [n_values]: TnDeviceKind of the memory */
    /* memory.c */
    uint32_t *root;  /* [n_values]: value whose bytes it shares, itself if none */
    uint32_t *place; /* [n_values]: PlanPlace */
    uint32_t *place_arg;
    uint32_t *first, *last; /* of roots: the life of all that share it */
    uint32_t *own_first, *own_last;
    uint64_t *offset, *bytes;
    uint64_t arena_bytes[2], arena_lower_bound[2]; /* host, device */
    uint32_t (*defines)[2]; /* data-dependent symbols: symbol, PLAN_SYMBOL_AT */
    uint32_t *first_define; /* [n_nodes + 1] */
    uint8_t *late;          /* [n_values] */
    uint8_t *fixed;         /* [n_values]: depend on shapes alone */
} PnGraph;

typedef struct PnState {
    const char *name; /* "state:..." */
    IrGraphId graph;
    IrValueId value; /* the first that has the name */
    TnTensor sample; /* run.c */
} PnState;

typedef struct Pn {
    IrModule *m;
    const PlannerOptions *o;
    const TnAllocator *alloc;
    TnArena *arena; /* of the planner's own tables: lives until the plan is planned */
    TnThreads *threads;
    uint32_t cpu;
    uint32_t n_threads;
    PnGraph *graphs;
    uint32_t *order; /* graphs in the order of programs */
    PnState *states;
    uint32_t n_states, cap_states;
    PnChoice **choices; /* open addressing by signature */
    uint32_t n_choices, cap_choices;
    PnTimings *timings;
    PlanGeneration gen;
    bool is_generator;
    int64_t *symbols, *opt; /* values of symbols and expressions on the samples */
    uint8_t *symbol_known, *opt_known;
    uint8_t *guessed;     /* [n_symbols]: opt is ours to choose: 1 a picture's side, 2 a length, 3 a number of samples */
    bool strict, gave_up; /* run.c: stop at the first step that cannot run */
    size_t steps_done, steps_all;
    /* With a device. */
    PnDevice *device;     /* device.c: NULL when there is none here */
    bool dry;             /* steps of the device are not run: their results are zeros */
    bool from_cache;      /* dry, and every choice must come from the timing cache */
    bool missed;          /* from_cache: one did not */
    uint64_t ns[PN_PHASES];
    uint64_t device_seed; /* device, driver, kernels: part of signatures */
    PnCode **codes;
    uint32_t n_codes, cap_codes;
    const char **unmet; /* steps of the device for which no kernel was good enough */
    uint32_t n_unmet, cap_unmet;
    /* buckets.c */
    int64_t *buckets; /* [n_buckets][n_symbols], 0 = any */
    uint32_t n_buckets;
    /* observe.c */
    struct PnSeen *seen; /* [n_graphs]; NULL: nobody asks */
    double guess;        /* run.c: the guess of sizes that was taken, < 0: none */
} Pn;

/* What was seen of the values of a graph. */
typedef struct PnSeen {
    double *largest;
    TnTensor *shape;
} PnSeen;

#define PN_ALLOC(pn, p, n, err)                                                                                                            \
    do {                                                                                                                                   \
        (p) = tni_arena_calloc((pn)->arena, (size_t)(n) + 1, sizeof *(p));                                                                 \
        if (!(p))                                                                                                                          \
            return TN_OOM((err), ((size_t)(n) + 1) * sizeof *(p));                                                                         \
    } while (0)

/* ---- prepare.c: programs, states, outputs ---- */
TnStatus tni_planner_prepare(Pn *pn, TnError *err);
/* Drops dead nodes and values after a rewrite. Before place: what is kept an id has no tables yet. */
TnStatus tni_planner_compact(Pn *pn, TnError *err);
bool tni_planner_is_state(const char *name);
uint32_t tni_planner_find_state(const Pn *pn, const char *name); /* PLAN_NONE: none */
bool tni_planner_aligned(const void *p, TnDtype t);              /* for elements of t */

/* ---- fuse.c ---- */
/* With a device: pairs of products that it computes at once. */
TnStatus tni_planner_fuse(Pn *pn, TnError *err);

/* ---- place.c ---- */
/* Decides where every node runs and every value lies; adds copies. For the CPU alone: everything on the host. */
TnStatus tni_planner_place(Pn *pn, TnError *err);
/* Node k is a copy between the host's memory and the device's. */
bool tni_planner_is_transfer(const PnGraph *pg, uint32_t k);

/* ---- observe.c ---- */
void tni_planner_see(Pn *pn, IrGraphId g, IrValueId v, const TnTensor *t); /* notes a value that was computed */
void tni_planner_forget(Pn *pn);

/* ---- run.c ---- */
/* Runs all graphs on samples and chooses a kernel for every node. */
TnStatus tni_planner_run(Pn *pn, TnError *err);
/* ---- samples.c ---- */
/* Evaluates expressions as far as symbols are known. */
void tni_planner_evaluate(Pn *pn);
/* Symbols at their opt values, or those of the caller's samples. */
TnStatus tni_planner_symbols(Pn *pn, TnError *err);
/* How many guesses there are of the sizes that nobody has given (1: nothing to guess); the last one is all ones. */
uint32_t tni_planner_guesses(const Pn *pn);
/* Puts a guess into the symbols' opt values and evaluates. */
void tni_planner_guess(Pn *pn, uint32_t guess);
/* dims of a value on the samples; false: one is not known. */
bool tni_planner_dims(const Pn *pn, const IrValue *v, TnTensor *t);
/* Memory from pn->alloc for t, filled with values that suit an input of this name: floats in [-1, 1), small integers, masks of ones. */
TnStatus tni_planner_fill(const Pn *pn, TnTensor *t, const char *name, uint64_t seed, TnError *err);
/* Tensor for graph input i of a top graph: the caller's sample, a state, a control input of a decoder, or tni_planner_fill. *owned: free
 * it. */
TnStatus tni_planner_sample(Pn *pn, PnGraph *pg, uint32_t i, TnTensor *t, uint8_t *owned, TnError *err);
TnStatus tni_planner_state_samples(Pn *pn, TnError *err);

/* ---- choose.c ---- */
/* A constant in the form that kernels want; on NULL: free. */
typedef struct PnPacked {
    const char *packing;
    uint32_t operand;
    size_t bytes;
    void *on;
} PnPacked;
enum { PN_PACKED = 8 };

/* A node on concrete tensors. in[i].data may be NULL when nothing is known but the shape; constants are marked. out has data. */
typedef struct PnCase {
    TnOp op;
    const void *params;
    TnTensor *in;
    const bool *constant;
    uint32_t n_in;
    TnTensor *out;
    uint32_t n_out;
    const int64_t *dims; /* values of expressions */
    const char *name;    /* of the node, for the log */
    const PnChoice *at_opt; /* NULL: any kernel; else one that wants the same packed constants */
    bool runnable;       /* all data present */
    bool done;           /* set by choose: out holds the result of the chosen kernel */
    uint32_t on;         /* TnDeviceKind that runs it */
    void **on_in;        /* [n_in] device copies of operands, kept from call to call; NULL: nothing is kept */
    PnPacked *packed;    /* [PN_PACKED] with on_in: packed constants on the device, for all kernels of the same packing */
    void **on_out;       /* [n_out] results on the device, which stay there; NULL: results that the host gets */
} PnCase;
TnStatus tni_planner_choose(Pn *pn, PnCase *c, const PnChoice **out, TnError *err);
/* The choice when nothing can be run: the reference kernel with this reason. */
TnStatus tni_planner_choose_reference(Pn *pn, TnOp op, const char *reason, const PnChoice **out, TnError *err);
/* Candidates of a case, cheapest first; at least one. */
TnStatus tni_planner_candidates(Pn *pn, const PnCase *c, PnChoice *choice, TnError *err);
/* Candidates whose estimate is this many times the best are not timed. */
#define PN_TIME_RATIO 6.0

/* ---- buckets.c ---- */
/* Chooses kernels once more for every bucket of the options. */
TnStatus tni_planner_buckets(Pn *pn, TnError *err);
/* Kernel k can take the place of the one chosen at opt: the same packed constants, and no generated code. */
bool tni_planner_packs_alike(const PnCase *c, const TnKernel *k, const TnKernelQuery *q);
/* The kernel of node k in bucket b where it is another than at opt, or NULL. */
const PnChoice *tni_planner_in_bucket(const PnGraph *pg, uint32_t b, uint32_t k);
/* "batch=4,seq=128" */
void tni_planner_bucket_name(const Pn *pn, uint32_t b, char *text, size_t cap);

/* ---- choose_rest.c ---- */
/* A kernel that failed: faults of one kernel are its note, the loss of the device ends everything. */
TnStatus tni_planner_note_failure(Pn *pn, const PnCase *c, PnTried *t, const TnError *why, TnStatus st, TnError *err);
/* Times the device's candidates that came out close to *best again, in turn, and makes the fastest *best: measured one after the other, each at
 * the clock that the GPU happened to have, a difference of a tenth means nothing. */
TnStatus tni_planner_final_round(Pn *pn, PnCase *c, PnChoice *choice, PnTried **best, TnError *err);
/* No kernel of the device is good enough. All such steps are told at the end. */
TnStatus tni_planner_fall_short(Pn *pn, const PnCase *c, PnChoice *choice, TnError *err);
/* What earlier builds on this device found out; *all: nothing is left to be tried. */
void tni_planner_recall(Pn *pn, PnChoice *choice, bool *all);
/* Without running anything: by the timing cache, or by estimate (there is no device, or the run only looks). */
TnStatus tni_planner_decide_dry(Pn *pn, PnChoice *choice, TnError *err);
/* For node k, which did not run: that, or on a device the cheapest estimate. */
TnStatus tni_planner_choose_unrun(Pn *pn, const PnGraph *pg, uint32_t k, const char *reason, const PnChoice **out, TnError *err);
/* For a DATA_SHAPE operator, when out holds the results of the reference. */
TnStatus tni_planner_choose_sized(Pn *pn, PnCase *c, const PnChoice **out, TnError *err);
TnStatus tni_planner_choices_init(Pn *pn, TnError *err);
/* Runs a kernel once on a case, packing its constants and giving it scratch. out: [n_out]. ns (may be NULL): time of the call. repeat:
 * calls at most this many times or until 20 ms are used up, *ns is the smallest time. */
TnStatus tni_planner_call(Pn *pn, const TnKernel *k, const PnCase *c, TnTensor *out, uint32_t repeat, double *ns, TnError *err);
void tni_planner_query(const Pn *pn, const PnCase *c, TnTensor *in, TnKernelQuery *q);

/* For kernels that are asked without a case. */
void tni_planner_query_on(const Pn *pn, uint32_t on, TnKernelQuery *q);

/* ---- device.c ---- */
TnStatus tni_planner_device_open(Pn *pn, TnError *err);
void tni_planner_device_close(Pn *pn);
/* Runs a kernel of the device once. Operands: c->on_in, or copied there from c->in (without data: zeros). Results stay in c->on_out; those of
 * DATA_SHAPE operators come to `out` in host memory. */
TnStatus tni_planner_device_call(Pn *pn, const TnKernel *k, const PnCase *c, TnTensor *out, TnError *err);
/* The same, then check(), and where that says ok, and ns is given, the median time of a call when calls follow each other. */
typedef TnStatus (*PnCheckFn)(void *ctx, bool *ok, TnError *err);
TnStatus tni_planner_device_try(Pn *pn, const TnKernel *k, const PnCase *c, PnCheckFn check, void *ctx, bool *ok, double *ns, TnError *err);
/* Times 2..PN_FINALISTS kernels that have passed in turn, so that all meet the same clocks, temperatures and caches. */
#define PN_FINALISTS 4
TnStatus tni_planner_device_finals(Pn *pn, const PnCase *c, const TnKernel *const *k, uint32_t n, double *ns, TnError *err);
/* Bytes [at, at + bytes) of device memory to the host; memory of the device set to zero; a buffer that is not needed any more. */
TnStatus tni_planner_device_read(Pn *pn, void *to, const void *from, size_t at, size_t bytes, TnError *err);
TnStatus tni_planner_device_zero(Pn *pn, void *p, size_t bytes, TnError *err);
void tni_planner_device_give(Pn *pn, void *p);
/* Is the device lost, so that nothing further can work? */
bool tni_planner_device_lost(Pn *pn);
/* Generated code of a step, compiled where there is a compiler; *out NULL: the kernel has none. */
TnStatus tni_planner_code(Pn *pn, const TnKernel *k, const TnKernelQuery *q, const PnCode **out, TnError *err);

/* ---- compare.c ---- */
/* y against the reference within the kernel's tolerance; *error: largest difference over the largest |ref|. */
bool tni_planner_close(const TnTensor *ref, const TnTensor *y, double atol, double rtol, double *error);
/* A part of a case that the reference can compute in reasonable time: views of the same memory, nothing copied. Part 0 and 1: beginning and
 * end. false: no such part (part 0 then is the whole). Where the parts begin, in bytes: in_at [n_in], out_at [n_out]; data that is NULL stays
 * NULL. */
bool tni_planner_crop(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, size_t *in_at, size_t *out_at, double max_macs);
/* The same for operators that treat the entries of their outer axes alike; `most`: elements of a part. */
bool tni_planner_crop_outer(const PnCase *c, uint32_t part, TnTensor *in, TnTensor *out, size_t *in_at, size_t *out_at, double most);
#define PN_MACS_AN_ELEMENT 128.0 /* an element of those costs the reference as much as this many products */

/* ---- timing.c ---- */
TnStatus tni_planner_timings_open(Pn *pn, TnError *err);
bool tni_planner_timing_find(const Pn *pn, const TnKernel *k, uint64_t signature, double *ns);
TnStatus tni_planner_timing_add(Pn *pn, const TnKernel *k, uint64_t signature, double ns, TnError *err);
/* The whole outcome of trying a kernel of a device. */
bool tni_planner_outcome_find(const Pn *pn, const TnKernel *k, uint64_t signature, double *ns, double *error, bool *ok);
TnStatus tni_planner_outcome_add(Pn *pn, const TnKernel *k, uint64_t signature, double ns, double error, bool ok, TnError *err);
/* Numbers seen on samples. */
bool tni_planner_number_find(const Pn *pn, uint64_t key, double *value);
TnStatus tni_planner_number_add(Pn *pn, uint64_t key, double value, TnError *err);
bool tni_planner_timings_empty(const Pn *pn);
TnStatus tni_planner_timings_save(Pn *pn, TnError *err);

/* ---- memory.c ---- */
TnStatus tni_planner_defines(Pn *pn, PnGraph *pg, TnError *err); /* which node defines which data-dependent symbol */
TnStatus tni_planner_memory(Pn *pn, PnGraph *pg, TnError *err);

/* ---- emit.c ---- */
TnStatus tni_planner_emit(Pn *pn, PlanWriter *w, PlanHeader *h, TnError *err);
TnStatus tni_planner_explain(Pn *pn, PlanWriter *w, TnError *err); /* explain.c */

#endif
