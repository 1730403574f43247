/* SPDX-License-Identifier: Apache-2.0
 *
 * Running on a device: what plans, contexts and frames have besides what every plan has (runtime.h).
 *
 * A plan opens the device, uploads its constants once and loads generated code. A context has a stream; memory for an arena, scratch and states
 * in the device; and pinned host memory through which tensors come and go. A program is run in one of two ways:
 *   step by step (run.c): in the order of the plan; a copy to the host waits for the device;
 *   as a graph (device_run.c): steps of the host that need nothing from the device first, then everything on the device as one unit of work
 *     that was captured before, then the other steps of the host. A graph is made when a program runs for the second time with the same
 *     shapes, addresses and contents of those operands that kernels read on the host; a few are kept a frame.
 *
 * What is enqueued is `pending` until tni_rt_device_finish has waited for it: only then does the host read results, notice index faults, or
 * write over pinned memory. A failure of the device makes the context unusable, and only it. */
#ifndef TENON_RUNTIME_DEVICE_H
#define TENON_RUNTIME_DEVICE_H

#include "kernel/device.h"
#include "runtime/branch.h"
#include "runtime/runtime.h"

#define RT_DEVICE_ALIGN 256u /* of what is packed into one block of device or pinned memory */
#define RT_MAX_GRAPHS 8u     /* kept a frame */

/* Of a plan. */
typedef struct RtDevice {
    const TnDeviceLibrary *lib;
    TnDevice *dev;
    TnDeviceInfo info;
    void *weights;       /* device memory */
    size_t weights_bytes;
    uint64_t *weight_at; /* [values of the plan]: offset of a constant there */
    TnModule **modules;  /* [steps of the plan]: modules[i] is freed with the plan; a step finds its own in RtStep.code */
} RtDevice;

/* Work that was captured. */
typedef struct RtGraph {
    RtBuffer key; /* host memory */
    size_t key_bytes;
    TnGraphExec *exec; /* NULL: ran once step by step */
    bool refused;      /* could not be captured: stays step by step */
    uint64_t used, epoch;
} RtGraph;

/* Steps of a frame that may run beside each other in a graph (device_branch.c). */
typedef struct RtBranching {
    bool tried;            /* has been looked at, once a frame */
    RtBranches *b;         /* by values; NULL: everything stays on one stream */
    uint32_t *step;        /* [b->n]: step of the program */
    uint32_t (*done)[RT_MOST_LANES]; /* [slots of the device's arena]: the last step + 1 of each lane that touches it */
    uint32_t *birth;       /* [slots]: the first step that touches it, PLAN_NONE = none */
    uint64_t chain_bytes;  /* the arena without branches */
} RtBranching;

/* Of a frame. */
typedef struct RtDeviceFrame {
    RtBuffer in_device, in_pinned; /* inputs that are brought to the device, or to the host; the same offsets in both */
    uint64_t *in_at;               /* [n_inputs] offset, UINT64_MAX = is used where it is */
    TnTensor *placed;              /* [n_inputs]: inputs in the memory where the program wants them */
    const void **on_host;          /* [n_inputs]: the caller's data of this run, NULL = is not in host memory */
    size_t in_bytes;               /* of those for the device */
    RtBuffer stage;                /* pinned: transfers in a graph */
    uint64_t *stage_at;            /* [n_stages] */
    RtBuffer out_pinned;           /* outputs for the host */
    uint64_t *out_at;              /* [n_outputs] offset, UINT64_MAX = not fetched */
    RtGraph graphs[RT_MAX_GRAPHS];
    bool seen;  /* has run step by step: its steps are not noted again */
    bool after; /* steps that come after a graph have still to be run */
    /* What is enqueued behind the program, as a part of its graph; NULL: nothing. */
    TnStatus (*then)(TnContext *ctx, TnError *err);
    RtBranching branching;
} RtDeviceFrame;

/* A step that has been enqueued, and the point in the stream behind it. */
typedef struct RtTrail {
    const RtFrame *frame;
    uint32_t step;
    TnMark *mark;
} RtTrail;

/* A stream beside a context's own, for recording. */
typedef struct RtSide {
    TnStream *stream;
    RtBuffer scratch;
} RtSide;

/* Of a context. */
typedef struct RtDeviceContext {
    TnStream *own, *users; /* the context's; the caller's, NULL = none */
    TnStream *stream;      /* where kernels are enqueued at the moment */
    TnMark *from, *to;     /* times of steps */
    RtBuffer key;          /* host memory: a key under construction */
    size_t key_bytes;
    RtBuffer watch;   /* pinned: what the step hook looks at */
    uint64_t epoch;   /* counts changes of addresses: graphs of older epochs are of no use */
    uint64_t clock;   /* for least recently used */
    RtFrame *pending; /* has been enqueued and not waited for */
    bool copies;      /* outputs of pending go to the caller */
    uint8_t *wanted;  /* [outputs of program 0]: go to the host */
    RtTrail *trail;   /* [steps of the plan]: what was enqueued step by step since the last wait, the first n_trail of it */
    uint32_t n_trail;
    bool naming;      /* a run that looks for the step of an index fault: waits after each step */
    bool lost;
    char why[512];
    uint64_t n_captured, n_launched; /* tests and profiles */
    struct RtDeviceSearch *search;   /* device_search.c */
    /* device_branch.c */
    uint32_t lanes;              /* of graphs: 1 = one stream */
    bool lanes_always;           /* also where estimates see no gain */
    RtSide side[RT_MOST_LANES];  /* [0] is not used */
    TnMark **marks;              /* between streams, while recording */
    uint32_t n_marks;
    RtBranches *recording;       /* the program that is being recorded on several streams; NULL: on one */
    uint32_t at;                 /* its next step */
    const RtBuffer *scratch;     /* of the stream in use; NULL: the context's */
    uint64_t n_branched;         /* graphs with several streams (tests) */
} RtDeviceContext;

/* ---- device_plan.c ---- */
/* Opens device `index` for plan->p and checks that the plan can run there; before steps are prepared. */
TnStatus tni_rt_device_open(TnPlan *plan, int32_t index, TnError *err);
/* Constants and code; after steps have been prepared. */
TnStatus tni_rt_device_load(TnPlan *plan, TnError *err);
void tni_rt_device_close(TnPlan *plan);

/* ---- device_phase.c ---- */
/* Which steps of a program can be captured, and which come before and after. */
TnStatus tni_rt_device_phases(TnPlan *plan, RtProgram *r, TnError *err);

/* ---- device_context.c ---- */
TnStatus tni_rt_device_context(TnContext *ctx, TnError *err);
void tni_rt_device_context_destroy(TnContext *ctx); /* frees frames' and states' device memory too */
TnStatus tni_rt_device_frame(TnContext *ctx, RtFrame *f, TnError *err);
/* Memory of the device (addresses of which graphs know: a new epoch), or pinned memory of the host; waits for the device before it gives
 * memory back. */
TnStatus tni_rt_device_grow(TnContext *ctx, RtBuffer *b, size_t bytes, bool zero, const char *what, TnError *err);
TnStatus tni_rt_pinned_grow(TnContext *ctx, RtBuffer *b, size_t bytes, const char *what, TnError *err);
size_t tni_rt_device_bytes(const TnContext *ctx);
TnStatus tni_rt_device_set_stream(TnContext *ctx, void *stream, TnError *err);
/* TN_ERR_DEVICE when an earlier failure has made the context unusable. */
TnStatus tni_rt_device_usable(const TnContext *ctx, TnError *err);
/* Notes failures of the device; returns st. */
TnStatus tni_rt_device_note(TnContext *ctx, TnStatus st, const TnError *err);
/* Waits for everything that was enqueued; a kernel that does not end fails the call, which names the step if it was noted (else the program),
 * and the device is given up: nothing that waits is called for it any more. */
TnStatus tni_rt_device_wait(TnContext *ctx, TnError *err);
TnStatus tni_rt_device_trail(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err);
/* The first index that a kernel found out of range since the last call; after a wait. */
TnStatus tni_rt_device_fault(TnContext *ctx, bool *fault, int64_t *index, int64_t *limit, TnError *err);

/* ---- device_io.c ---- */
/* Puts inputs where the program wants them: f->device->placed. on_device: [n_inputs], NULL = all in host memory. Copies to the device are
 * enqueued by the second call, when binding has found no fault. */
TnStatus tni_rt_device_place(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const uint8_t *on_device, TnError *err);
TnStatus tni_rt_device_bring(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err);
/* Enqueues copies of the wanted outputs to pinned memory, where the host may read them after tni_rt_device_finish. */
TnStatus tni_rt_device_fetch_begin(TnContext *ctx, RtFrame *f, const uint8_t *wanted, TnError *err);
const void *tni_rt_device_fetched(const RtFrame *f, uint32_t i); /* NULL: was not fetched */
/* Enqueues what the caller wants of program 0's outputs; and the rest, when they are there. */
TnStatus tni_rt_device_outputs_begin(TnContext *ctx, RtFrame *f, TnError *err);
TnStatus tni_rt_device_outputs_end(TnContext *ctx, RtFrame *f, TnError *err);
/* Output i of the last run as the caller may see it; and whether that is memory of the device. */
TnTensor tni_rt_device_output(const TnContext *ctx, uint32_t i);
bool tni_rt_device_output_there(const TnContext *ctx, uint32_t i);
/* The caller's data of an input on the device that step s copies to the host; NULL: it is not in host memory. */
const void *tni_rt_device_on_host(const TnContext *ctx, const RtFrame *f, uint32_t s);
/* A copy between memories, at once. */
TnStatus tni_rt_device_transfer(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err);

/* ---- device_run.c ---- */
/* Runs a bound frame: enqueues, so that it is pending. */
TnStatus tni_rt_device_run_frame(TnContext *ctx, RtFrame *f, TnError *err);
/* Waits for what is pending and does what comes after; nothing to do when nothing is pending. */
TnStatus tni_rt_device_finish(TnContext *ctx, TnError *err);
/* After a failure: nothing is in flight any more. */
void tni_rt_device_abandon(TnContext *ctx);
void tni_rt_device_graphs_free(TnContext *ctx, RtFrame *f);
/* Program 0 on the context's inputs, up to the point where the caller may go on; tni_rt_device_finish does the rest. */
TnStatus tni_rt_device_start(TnContext *ctx, TnError *err);
/* Everything that is made once a shape: memory and graph. */
TnStatus tni_rt_device_warm(TnContext *ctx, TnError *err);

/* ---- device_branch.c ---- */
/* After everything has been bound: whether branches pay, and where memory must lie for them; *again: bind once more, for the arena is laid out
 * anew. Looks once a frame. */
TnStatus tni_rt_branch_plan(TnContext *ctx, RtFrame *f, bool *again, TnError *err);
/* The arena of a frame whose sizes are in l->bytes, with room for what runs at once. False: it does not fit. */
bool tni_rt_branch_arena(const RtFrame *f, RtLayout *l, uint64_t *total);
/* Before a recording: finds waits from the addresses, makes streams and marks. Leaves ctx->device->recording NULL when one stream is as good. */
TnStatus tni_rt_branch_begin(TnContext *ctx, RtFrame *f, TnError *err);
/* Around step s while recording: chooses its stream and waits; ends: everything comes together on the context's own stream. */
TnStatus tni_rt_branch_enter(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err);
TnStatus tni_rt_branch_leave(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err);
TnStatus tni_rt_branch_join(TnContext *ctx, TnError *err);
void tni_rt_branch_end(TnContext *ctx);
void tni_rt_branch_free_frame(TnContext *ctx, RtFrame *f);
void tni_rt_branch_free(TnContext *ctx); /* streams, marks; memory has been given back */

/* ---- device_search.c ---- */
/* The search of this call can run on the device. */
bool tni_rt_device_can_search(const TnContext *ctx, const struct RtGeneration *s);
/* The whole search, after the encoder. results: [lines]; arrays live in the context until its next call. */
TnStatus tni_rt_device_search(TnContext *ctx, struct RtGeneration *s, TnGenerated *results, TnError *err);
TnStatus tni_rt_device_search_step(TnContext *ctx, TnError *err); /* for RtDeviceFrame.then */
/* What a graph with such a step behind it is for. */
const void *tni_rt_device_search_key(const TnContext *ctx, size_t *bytes);
void tni_rt_device_search_free(TnContext *ctx);

/* ---- device_watch.c ---- */
/* Around a step: end waits for it, names it when it found an index out of range, and calls the step hook with its outputs in host memory
 * and its time on the device; host_ns: the time of a step of the host. */
TnStatus tni_rt_device_watch_begin(TnContext *ctx, TnError *err);
TnStatus tni_rt_device_watch_end(TnContext *ctx, RtFrame *f, uint32_t s, uint64_t host_ns, TnError *err);
/* The step that found an index out of range: runs the frame again, waiting after each step. Returns TN_ERR_RUN. */
TnStatus tni_rt_device_name_fault(TnContext *ctx, RtFrame *f, int64_t index, int64_t limit, TnError *err);

#endif
