/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan: a flat program that meets the build side and the run side. This header is the specification of the file
 * (docs/plan-format.md explains it). All integers little-endian; the structs below are the records on disk, naturally aligned, no padding
 * that is not named. Sections are 64-byte aligned, weights 4096-byte aligned so that they can be mapped.
 *
 *   PlanHeader | PlanSection[n_sections] | sections, in the order of their kinds | weights last
 *
 * Gaps between sections are zero and smaller than the alignment; the file ends where the last section ends.
 *
 * A loaded plan is a set of typed views into the mapped file: nothing is copied. plan/read.c and plan/verify.c check the structure once
 * (every id, count, offset, size and name); what depends on the sizes of tensors is checked with numbers when a context binds its shapes
 * (plan/check.h, one rule an operator), after which kernels run unchecked. */
#ifndef TENON_PLAN_PLAN_H
#define TENON_PLAN_PLAN_H

#include "base/base.h"
#include "base/span.h"
#include "kernel/dim.h"
#include "kernel/kernel.h"

#define PLAN_MAGIC "TENONPLN"
#define PLAN_VERSION 3u
#define PLAN_NONE UINT32_MAX

typedef enum PlanSectionKind {
    PLAN_SEC_STRINGS = 1, /* NUL-terminated UTF-8; references are byte offsets; offset 0 is "" */
    PLAN_SEC_EXPRS,       /* TnDimExpr[] */
    PLAN_SEC_SYMBOLS,     /* TnSymbol[] */
    PLAN_SEC_PROGRAMS,    /* PlanProgram[] */
    PLAN_SEC_VALUES,      /* PlanValue[] of all programs, each program a contiguous range */
    PLAN_SEC_STEPS,       /* PlanStep[] likewise, in order of execution */
    PLAN_SEC_OPERANDS,    /* u32[]: value ids (program-relative), PLAN_NONE = absent */
    PLAN_SEC_PARAMS,      /* parameter structs, 8-byte aligned */
    PLAN_SEC_STATES,      /* PlanState[]: tensors that live across programs and steps of a generation */
    PLAN_SEC_META,        /* PlanMeta[] */
    PLAN_SEC_BLOBS,       /* bytes of metadata */
    PLAN_SEC_BUCKETS,     /* i64[buckets][symbols]: sizes that kernels were chosen for besides opt, 0 = any (absent: opt alone) */
    PLAN_SEC_KERNELS,     /* u32[steps][buckets]: strings: kernel of the step in that bucket, 0 = the step's own */
    PLAN_SEC_EXPLAIN,     /* text, one line a record (plan/explain.c): kernels considered, times, errors, the reason (may be absent) */
    PLAN_SEC_WEIGHTS,     /* constants, each 64-byte aligned */
    PLAN_SEC_COUNT
} PlanSectionKind;

typedef struct PlanHeader {
    char magic[8];
    uint32_t version;
    uint32_t n_sections;
    uint64_t file_bytes;
    uint64_t head_hash; /* XXH3 of the bytes after the header up to the weights (or the end), seeded with the XXH3 of the header with this
                           field 0 */
    uint64_t weights_hash;    /* of the weights section in chunks of PLAN_HASH_CHUNK, each seeded with the hash before, the first with 0;
                               * checked on    request, not at every load; 0 when there are none */
    uint64_t kernel_identity; /* tni_kernel_identity() of the build that packed the weights */
    uint64_t model_hash;      /* of the model file(s) */
    uint32_t cpu_flags;       /* TN_CPU_* that the chosen kernels need */
    uint32_t device;          /* TnDeviceKind: CPU, or the device that steps and values may name */
    char build[32];           /* version of Tenon */
    uint32_t arch;            /* device: compute capability x 10 that kernels were chosen for */
    uint32_t math;            /* TN_MATH_* that kernels may use */
    uint64_t device_identity; /* identity of the device library whose kernels packed the weights */
    uint8_t reserved[16];
} PlanHeader;

#define PLAN_HASH_CHUNK (1u << 20)
#define PLAN_ALIGN 64u
#define PLAN_MAX_BUCKETS 16u
#define PLAN_WEIGHTS_ALIGN 4096u

typedef struct PlanSection {
    uint32_t kind;  /* PlanSectionKind */
    uint32_t count; /* records */
    uint64_t offset, bytes;
} PlanSection;

typedef enum PlanPlace {
    PLAN_AT_ARENA,   /* offset and bytes: a slot of the program's arena, good for shapes whose tensors all fit their slots */
    PLAN_AT_WEIGHT,  /* offset in the weights section; dims are constants. Packed constants are u8 vectors */
    PLAN_AT_INPUT,   /* place_arg = program input index */
    PLAN_AT_STATE,   /* place_arg = state index */
    PLAN_AT_ALIAS,   /* place_arg = value id it shares bytes with (a value of the program that is not an alias itself) */
    PLAN_AT_DYNAMIC, /* size known only while running: from the context's growing pool */
    PLAN_AT_PACKED,  /* a constant that is stored only in packed forms: dims are constants, no data */
    PLAN_PLACE_COUNT
} PlanPlace;

typedef struct PlanValue {
    uint32_t name; /* string */
    uint32_t dtype;
    int32_t rank;
    uint32_t place;
    uint32_t place_arg;
    uint32_t first_step, last_step; /* life: written by first, last read by last (program-relative); inputs and constants first = 0; outputs
                                     * last = n_steps. The life of an alias is within that of what it shares */
    uint32_t is_output;             /* also a program output */
    uint32_t device;                /* TnDeviceKind: the memory it lies in. Inputs and outputs of a program that nobody calls: the device's,
                                     * if a step there reads or writes them (the runtime brings them over) */
    uint32_t pad;
    TnDim dims[TN_MAX_RANK];
    uint64_t offset; /* arena or weights; a multiple of PLAN_ALIGN */
    uint64_t bytes;  /* arena: size of the slot, 0 when a range is unlimited (the runtime plans); weights: bytes stored, those of dims */
} PlanValue;

typedef struct PlanStep {
    uint32_t name;                 /* string: model node name(s) */
    uint32_t op;                   /* string: operator name (numbers may change between versions) */
    uint32_t kernel;               /* string: kernel name; "" for if_, loop and copies between memories, which the runtime does itself */
    uint32_t params, params_bytes; /* offset in PARAMS */
    uint32_t first_in, n_in;       /* in OPERANDS */
    uint32_t first_out, n_out;
    uint32_t first_packed; /* in OPERANDS: n_in ids of the packed constants (weights values), PLAN_NONE = not packed; or PLAN_NONE = no
                              packing at all */
    uint32_t first_symbol,
        n_symbols; /* in OPERANDS: n_symbols pairs (symbol, PLAN_SYMBOL_AT(output, axis)): data-dependent symbols this step defines */
    uint32_t device; /* TnDeviceKind that runs it: all its operands lie there, but for those in tni_op_host_inputs (host memory), and but for
                      * copy, which may go between the two memories (then the device's kind) */
    uint32_t code;   /* value id (u8 vector in the weights, host memory) of a PlanCode and what follows it, PLAN_NONE = none */
} PlanStep;

/* Generated code of a step: this, then the binary, then the source (NUL-terminated). */
typedef struct PlanCode {
    uint32_t arch; /* compute capability x 10 of the binary */
    uint32_t pad;
    uint64_t binary_bytes, source_bytes; /* source with its NUL; binary 0: compile the source when loading */
} PlanCode;

typedef struct PlanProgram {
    uint32_t name; /* string: "main", "encoder", "decoder", bodies "main/Loop_3" */
    uint32_t first_value, n_values;
    uint32_t first_step, n_steps;
    uint32_t first_input, n_inputs;   /* in OPERANDS; states are not among them */
    uint32_t first_output, n_outputs; /* in OPERANDS; states are not among them */
    uint32_t pad;
    uint64_t arena_bytes;       /* at the ranges' maximum; 0 when a range is unlimited */
    uint64_t arena_lower_bound; /* largest sum of live tensors at that shape */
    uint64_t device_arena_bytes, device_arena_lower_bound; /* the same of values in the device's memory, which has its own arena */
} PlanProgram;

typedef struct PlanState {
    uint32_t name;
    uint32_t dtype;
    int32_t rank;
    uint32_t pad;
    TnDim dims[TN_MAX_RANK];
} PlanState;

typedef struct PlanMeta {
    uint32_t key; /* string */
    uint32_t pad;
    uint64_t offset, bytes; /* in BLOBS */
} PlanMeta;

#define PLAN_SYMBOL_AT(output, axis) ((uint32_t)(output) << 8 | (uint32_t)(axis))

/* A loaded (or just built) plan: views only. */
typedef struct Plan {
    const PlanHeader *header;
    const char *strings;
    uint64_t strings_bytes;
    const TnDimExpr *exprs;
    uint32_t n_exprs;
    const TnSymbol *symbols;
    uint32_t n_symbols;
    const PlanProgram *programs;
    uint32_t n_programs;
    const PlanValue *values;
    uint32_t n_values;
    const PlanStep *steps;
    uint32_t n_steps;
    const uint32_t *operands;
    uint32_t n_operands;
    const uint8_t *params;
    uint64_t params_bytes;
    const PlanState *states;
    uint32_t n_states;
    const PlanMeta *meta;
    uint32_t n_meta;
    const uint8_t *blobs;
    uint64_t blobs_bytes;
    const int64_t *buckets;
    uint32_t n_bucket_sizes, n_buckets; /* n_bucket_sizes / n_symbols */
    const uint32_t *kernels;
    uint32_t n_kernels;
    const char *explain;
    uint64_t explain_bytes;
    const uint8_t *weights;
    uint64_t weights_bytes;
} Plan;

/* What stands where: size of a record and name of a section ("steps"). */
uint32_t tni_plan_record_bytes(uint32_t kind); /* 1 for text, blobs, params and weights */
const char *tni_plan_section_name(uint32_t kind);

/* Recomputes both hashes of a complete image and stores them in its header (tests and fuzzing: a damaged plan that passes the hash). */
void tni_plan_seal(uint8_t *bytes, size_t n);
uint64_t tni_plan_head_hash(const uint8_t *bytes, uint64_t head_bytes); /* head_bytes: up to the weights, or all */
uint64_t tni_plan_weights_hash(const uint8_t *weights, uint64_t n);

/* Checks bytes (8-byte aligned) completely and fills views into them. TN_ERR_PLAN with the section and record that is wrong;
 * TN_ERR_VERSION; TN_ERR_INCOMPATIBLE when kernels or CPU flags are missing here. verify_weights also hashes the weights. a:
 * for a byte a value while it works. */
TnStatus tni_plan_read(TnSpan bytes, bool verify_weights, const TnAllocator *a, Plan *out, TnError *err);
/* The records of a plan whose sections are in place (verify.c); a part of tni_plan_read. */
TnStatus tni_plan_verify(const Plan *p, const TnAllocator *a, TnError *err);
/* A plan for a device against that device: kernels exist, compute the operators they are named for, run on its architecture, and pack as
 * those that packed the weights. TN_ERR_INCOMPATIBLE with the node and what to do; TN_ERR_PLAN. tni_plan_read needs no device. */
struct TnDeviceLibrary;
TnStatus tni_plan_verify_device(const Plan *p, const struct TnDeviceLibrary *lib, const struct TnDeviceInfo *info, TnError *err);
/* Step s of program g is a copy between the host's memory and the device's. */
bool tni_plan_is_transfer(const Plan *p, const PlanProgram *g, uint32_t s);
const char *tni_plan_device_name(uint32_t device); /* "cpu", "cuda" */
/* The bucket whose kernels suit these values of symbols: the smallest that is large enough in all that are known, else the largest. */
uint32_t tni_plan_bucket(const Plan *p, const int64_t *symbols, const uint8_t *known);
/* Text dump for `inspect`. */
typedef void (*TnTextSink)(void *ctx, const char *text, size_t n);
void tni_plan_dump(const Plan *p, bool json, TnTextSink fn, void *ctx);
/* Why each kernel was chosen: text, or a JSON object a line. */
void tni_plan_explain(const Plan *p, bool json, TnTextSink fn, void *ctx);
/* Value of a metadata key, or NULL. */
const uint8_t *tni_plan_meta(const Plan *p, const char *key, uint64_t *bytes);

/* Writing: a growing image of every section but the weights, whose bytes are produced by a callback while the file is written (a large
 * model is never twice in memory). All arrays live in the arena given to begin. */
typedef struct PlanWriter PlanWriter;
TnStatus tni_plan_writer_create(TnArena *arena, PlanWriter **out, TnError *err);
TnArena *tni_plan_writer_arena(const PlanWriter *w); /* for what fill callbacks read */
TnStatus tni_plan_string(PlanWriter *w, const char *s, uint32_t *out, TnError *err);
/* Appends `n` records to a section; *first gets the index of the first. STRINGS, BLOBS, EXPLAIN, PARAMS: bytes (PARAMS 8-aligned; *first =
 * byte offset). */
TnStatus tni_plan_append(PlanWriter *w, PlanSectionKind kind, const void *records, uint32_t n, uint32_t *first, TnError *err);
/* Reserves `bytes` in the weights section; fill(ctx, dst) is called once at write time with a zeroed 64-byte aligned buffer. */
TnStatus tni_plan_weight(PlanWriter *w, uint64_t bytes, TnStatus (*fill)(void *ctx, void *dst, TnError *err), void *ctx, uint64_t *offset,
                         TnError *err);
TnStatus tni_plan_meta_add(PlanWriter *w, const char *key, const void *data, uint64_t n, TnError *err);
/* Header fields but hashes and sizes are taken from *h. To a file (atomically) or to memory (*bytes from a, 4096-aligned). */
TnStatus tni_plan_write_file(PlanWriter *w, const PlanHeader *h, const char *path, TnError *err);
TnStatus tni_plan_write_memory(PlanWriter *w, const PlanHeader *h, const TnAllocator *a, uint8_t **bytes, size_t *n, TnError *err);

/* Arena planning, used at build (for the ranges' maximum) and by the runtime (for shapes outside it): places n buffers of sizes[i] bytes
 * live over steps [first[i], last[i]], last <= n_steps, so that buffers live at once do not overlap; offsets are multiples of PLAN_ALIGN.
 * *total: bytes of the arena; *lower_bound: largest sum of live sizes (each rounded up to PLAN_ALIGN). scratch: tni_plan_arena_scratch
 * bytes. sizes[i] == 0: offset 0. quick: one order instead of the best of several. Returns false when the sum of sizes overflows. */
size_t tni_plan_arena_scratch(uint32_t n, uint32_t n_steps);
bool tni_plan_arena(uint32_t n, uint32_t n_steps, const uint64_t *sizes, const uint32_t *first, const uint32_t *last, bool quick,
                    void *scratch, uint64_t *offsets, uint64_t *total, uint64_t *lower_bound);
/* The same for steps that do not all run one after another: buffers a and b may overlap only where apart(ctx, a, b) is true as well. apart is
 * symmetric; NULL: always. */
typedef bool (*PlanApartFn)(const void *ctx, uint32_t a, uint32_t b);
bool tni_plan_arena_apart(uint32_t n, uint32_t n_steps, const uint64_t *sizes, const uint32_t *first, const uint32_t *last, PlanApartFn apart,
                          const void *ctx, bool quick, void *scratch, uint64_t *offsets, uint64_t *total, uint64_t *lower_bound);

#endif
