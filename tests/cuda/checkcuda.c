/* SPDX-License-Identifier: Apache-2.0
 *
 * checkcuda: the driver. For every case and type: the reference once on the CPU, then every row of the device library that takes the case:
 * twice with differently poisoned memory (same bits), in place where the operator allows it (same values), inputs and guards untouched,
 * within the row's tolerance. A row that no case reached fails. One line a row; the last line sums up. Exit status: 0 passed, 1 failed,
 * 77 no GPU.
 *
 *   checkcuda [--op NAME] [--kernel PART] [--case N] [--seed N] [--quick] [--every N] [--time | --repeat N [--type f32|f16|bf16]]
 *             [--device N] [--codes N] [--separate] [--no-poison] [--functions | --broken | --list | --dry] [-v]
 *
 * --dry needs no GPU: every row is asked about every case as if there were an H200; constants are packed, generated code is compiled. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda/checkcuda.h"

typedef struct Tally {
    uint32_t ran, failed, codes;
    double worst;
} Tally;

typedef struct Check {
    Gpu gpu;
    Options o;
    Tally *tally; /* a row */
    bool dead;    /* the device is unusable: nothing further can be run */
} Check;

#define MOST_REPORTS 3 /* failures told in full, a row */

static const char *type_name(const Variant *v) {
    return v->real == TN_UNDEFINED ? "" : v->real == TN_F16 ? " float16" : v->real == TN_BF16 ? " bfloat16" : " integers";
}

static void fail(Check *k, uint32_t row, const Variant *v, const char *text) {
    const TnKernel *kernel = &k->gpu.lib->kernels[row];
    const Case *c = v->c;
    k->tally[row].failed++;
    if (k->tally[row].failed > MOST_REPORTS && !k->o.verbose)
        return;
    printf("FAIL %s, case %u%s (--op %s --kernel %s --case %u --seed %llu): %s\n", kernel->name, c->k, type_name(v),
           tni_op_info(c->op)->name, kernel->name, c->k, (unsigned long long)k->o.seed, text);
    printf("     %s; placement %s\n", c->what,
           c->place == PLACE_ALIGNED   ? "aligned"
           : c->place == PLACE_SHIFTED ? "shifted by one element"
                                       : "ending on a boundary");
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) {
        const TnTensor *t = i < c->n_in ? &v->in[i] : &v->out[i - c->n_in];
        char shape[128];
        printf("     %s %u: %s %s%s\n", i < c->n_in ? "in" : "out", i < c->n_in ? i : i - c->n_in, tn_dtype_name(t->dtype),
               tni_shape_str(shape, sizeof shape, t->rank, t->dims), i < c->n_in && c->constant[i] ? " constant" : "");
    }
    fflush(stdout);
}

/* ---- one kernel on one case ---- */
static void keep(const Variant *v, const Result *r, unsigned char **copies) {
    for (uint32_t i = 0; i < CASE_IN + CASE_OUT; i++) {
        const Piece *p = i < CASE_OUT ? &r->out[i] : &r->in[i - CASE_OUT];
        free(copies[i]);
        copies[i] = NULL;
        if (p->device == NULL || (i >= CASE_OUT && !v->c->state[i - CASE_OUT]))
            continue;
        copies[i] = malloc(TN_MAX(p->bytes, 1));
        if (copies[i] != NULL)
            memcpy(copies[i], p->host, p->bytes);
    }
}

static bool same_values(const TnTensor *t, const void *a, const void *b) {
    const size_t bytes = tn_tensor_bytes(t);
    if (memcmp(a, b, bytes) == 0)
        return true;
    for (int64_t i = 0; i < tn_tensor_numel(t); i++) { /* a NaN may be another one */
        if (!tni_dtype_is_float(t->dtype))
            return false;
        double x = tni_load_f64(t->dtype, a, i), y = tni_load_f64(t->dtype, b, i);
        if (!(x == y && signbit(x) == signbit(y)) && !(isnan(x) && isnan(y)))
            return false;
    }
    return true;
}

static bool check_values(Check *k, uint32_t row, const Variant *v, const Result *r) {
    const TnKernel *kernel = &k->gpu.lib->kernels[row];
    char text[320];
    for (uint32_t i = 0; i < v->c->n_out + v->c->n_in; i++) {
        bool is_out = i < v->c->n_out;
        const uint32_t j = is_out ? i : i - v->c->n_out;
        const Piece *p = is_out ? &r->out[j] : &r->in[j];
        Worst w = {0, 0, 0, 0};
        if (p->device == NULL || (!is_out && !v->c->state[j]))
            continue;
        TnTensor got = is_out ? variant_out(v, j) : v->in[j];
        got.data = p->host;
        compare_output(&got, is_out ? &v->c->out[j] : &v->c->in[j], kernel->atol, kernel->rtol, &w);
        if (!(w.share <= k->tally[row].worst))
            k->tally[row].worst = w.share;
        if (!(w.share <= 1.0)) {
            snprintf(text, sizeof text, "%s %u element %lld is %.9g, the reference has %.9g (%.3g of the tolerance)",
                     is_out ? "output" : "state", j, (long long)w.at, w.got, w.want, w.share);
            fail(k, row, v, text);
            return false;
        }
    }
    return true;
}

/* The harness's own errors; a device that is lost ends everything. */
static bool went_wrong(Check *k, uint32_t row, const Variant *v, TnStatus st, const TnError *err) {
    if (st == TN_OK)
        return false;
    fail(k, row, v, err->message);
    k->dead = k->dead || st == TN_ERR_DEVICE;
    return true;
}

/* Whether the input may share its memory with output 0. */
static bool may_share(const Case *c, const Variant *v, uint32_t i) {
    const TnTensor *a = &v->in[i], *b = &v->out[0];
    return a->data != NULL && c->out[0].data != NULL && !c->constant[i] && !c->state[i] &&
           tn_dtype_bits(a->dtype) == tn_dtype_bits(b->dtype) && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

static void check_inplace(Check *k, Program *p, uint32_t row, const Variant *v, unsigned char *const *copies) {
    const Case *c = v->c;
    if ((tni_op_info(c->op)->flags & TN_OPF_INPLACE) == 0 || c->skip_inplace || copies[0] == NULL)
        return;
    for (uint32_t i = 0; i < c->n_in; i++) {
        Result r;
        TnError err = {0};
        if (!may_share(c, v, i))
            continue;
        if (went_wrong(k, row, v, run_once(p, v, 0x5A, (int)i, &r, &err), &err))
            return;
        if (r.status != TN_OK) {
            fail(k, row, v, r.err.message);
            return;
        }
        if (!same_values(&v->out[0], r.out[0].host, copies[0])) {
            fail(k, row, v, "other values in place");
            return;
        }
    }
}

/* The reference failed (an index out of range): the kernel notes a fault, or says it itself. */
static void check_failing(Check *k, uint32_t row, const Variant *v, const Result *r, TnStatus want) {
    bool by_index = v->c->op == TN_OP_gather || v->c->op == TN_OP_gather_elements || v->c->op == TN_OP_gather_nd ||
                    v->c->op == TN_OP_scatter_nd || v->c->op == TN_OP_scatter_elements;
    if (r->status != want && !(r->status == TN_OK && (r->fault || !by_index)))
        fail(k, row, v, "an index out of range was not noticed");
}

static void check_loaded(Check *k, Program *p, uint32_t row, const Variant *v, TnStatus want) {
    unsigned char *copies[CASE_IN + CASE_OUT] = {NULL};
    Result r;
    TnError err = {0};
    bool good = true;
    for (int turn = 0; turn < 2 && good; turn++) {
        if (went_wrong(k, row, v, run_once(p, v, turn == 0 ? 0xFF : 0x5A, -1, &r, &err), &err)) {
            good = false;
        } else if (want != TN_OK) {
            check_failing(k, row, v, &r, want);
            good = false;
        } else if (r.status != TN_OK || r.fault) {
            fail(k, row, v, r.fault ? "an index fault was noted, but every index is in range" : r.err.message);
            good = false;
        } else if (turn == 0) {
            good = check_values(k, row, v, &r);
            keep(v, &r, copies);
        } else {
            for (uint32_t i = 0; i < CASE_IN + CASE_OUT && good; i++) {
                const Piece *q = i < CASE_OUT ? &r.out[i] : &r.in[i - CASE_OUT];
                if (copies[i] == NULL || memcmp(copies[i], q->host, q->bytes) == 0)
                    continue;
                fail(k, row, v, "the second run gave other bits: something is not written, not deterministic, or depends on old memory");
                good = false;
            }
        }
    }
    if (good && want == TN_OK)
        check_inplace(k, p, row, v, copies);
    for (uint32_t i = 0; i < CASE_IN + CASE_OUT; i++)
        free(copies[i]);
}

static void check_row(Check *k, uint32_t row, const Variant *v, TnStatus want) {
    const TnKernel *kernel = &k->gpu.lib->kernels[row];
    TnTensor qin[CASE_IN], qout[CASE_OUT];
    TnKernelQuery q = variant_query(v, &k->gpu, qin, qout);
    Program p = {kernel, NULL, &k->gpu, &k->o};
    TnError err = {0};
    if (kernel->supports != NULL && !kernel->supports(&q))
        return;
    if (kernel->cost != NULL && !(kernel->cost(&q) > 0)) {
        fail(k, row, v, "the estimated cost is not positive");
        return;
    }
    if (kernel->source != NULL && k->tally[row].codes++ >= k->o.codes)
        return;
    k->tally[row].ran++;
    if (went_wrong(k, row, v, program_load(&p, &q, &err), &err)) {
        program_unload(&p);
        return;
    }
    if (k->gpu.dry) {
        Result r;
        (void)went_wrong(k, row, v, run_once(&p, v, 0xFF, -1, &r, &err), &err);
        return;
    }
    check_loaded(k, &p, row, v, want);
    program_unload(&p);
}

/* ---- all cases of an operator ---- */
static bool wanted(const Check *k, uint32_t row) {
    const TnKernel *r = &k->gpu.lib->kernels[row];
    const uint32_t arch = k->gpu.info.arch;
    return arch >= r->arch_min && (r->arch_max == 0 || arch <= r->arch_max) &&
           (k->o.kernel == NULL || strstr(r->name, k->o.kernel) != NULL) &&
           (k->o.op == NULL || strcmp(k->o.op, tni_op_info(r->op)->name) == 0);
}

static TnStatus set_dims(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    TnTensor *t = &call->out[i];
    const size_t room = tn_tensor_bytes(t);
    t->rank = rank;
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    return t->data == NULL || tn_tensor_bytes(t) <= room
               ? TN_OK
               : TN_RAISE(call->err, TN_ERR_INTERNAL, "the case's bound of output %u is too small", i);
}

TnStatus run_reference(TnOp op, const void *params, const TnTensor *in, uint32_t n_in, TnTensor *out, uint32_t n_out, TnError *err) {
    static unsigned char *scratch;
    static size_t have;
    static TnThreads *threads;
    const TnKernel *ref = tni_kernel_ref(op);
    if (threads == NULL)
        TN_TRY(tni_threads_create(NULL, 0, &threads, err));
    TnKernelQuery q = {op, params, in, n_in, out, n_out, tni_threads_count(threads), NULL};
    size_t bytes = ref->scratch != NULL ? ref->scratch(&q) : 0;
    if (bytes > have) {
        free(scratch);
        scratch = aligned_alloc(64, tni_align_up(bytes, 64));
        have = scratch == NULL ? 0 : bytes;
        if (scratch == NULL)
            return TN_OOM(err, bytes);
    }
    TnKernelCall call = {.params = params,
                         .in = in,
                         .n_in = n_in,
                         .out = out,
                         .n_out = n_out,
                         .scratch = scratch,
                         .scratch_bytes = bytes,
                         .threads = threads,
                         .dim_values = variant_dims,
                         .resize = set_dims,
                         .err = err};
    return ref->run(&call);
}

/* The states as they were: the reference writes them in place, the device must start from the same. */
static void copy_states(Case *c, Variant *v) {
    for (uint32_t i = 0; i < c->n_in; i++) {
        if (!c->state[i] || v->owned[i] != NULL)
            continue;
        size_t bytes = tn_tensor_bytes(&c->in[i]);
        v->owned[i] = malloc(TN_MAX(bytes, 1));
        if (v->owned[i] != NULL)
            memcpy(v->owned[i], c->in[i].data, bytes);
        v->in[i].data = v->owned[i];
    }
}

static void check_case(Check *k, TnOp op, uint32_t number, TnDtype type) {
    static Case c;
    Variant v;
    TnError err = {0};
    if (ck_begin(&c, op, number, k->o.seed, false) && variant_make(&v, &c, type)) {
        copy_states(&c, &v);
        TnStatus want = k->gpu.dry ? TN_OK : run_reference(op, &c.params, c.in, c.n_in, c.out, c.n_out, &err);
        if (want != TN_OK && want != TN_ERR_RUN)
            printf("note: %s case %u%s: the reference says %s\n", tni_op_info(op)->name, number, type_name(&v), err.message);
        else
            for (uint32_t i = 0; i < k->gpu.lib->n_kernels && !k->dead; i++)
                if (k->gpu.lib->kernels[i].op == op && wanted(k, i))
                    check_row(k, i, &v, want);
        variant_free(&v);
    }
    ck_end(&c);
}

static void check_op(Check *k, TnOp op) {
    static Case c;
    for (uint32_t number = 0; !k->dead; number++) {
        TnDtype types[4];
        bool there = ck_begin(&c, op, number, k->o.seed, false);
        uint32_t n = there ? variant_types(&c, types) : 0;
        ck_end(&c);
        if (!there)
            return;
        if ((k->o.only >= 0 && (int64_t)number != k->o.only) || number % k->o.stride != 0)
            continue;
        for (uint32_t t = 0; t < n && !k->dead; t++)
            check_case(k, op, number, types[t]);
    }
}

static uint32_t report_op(Check *k, TnOp op, double seconds) {
    uint32_t failed = 0;
    for (uint32_t i = 0; i < k->gpu.lib->n_kernels; i++) {
        const TnKernel *r = &k->gpu.lib->kernels[i];
        const Tally *t = &k->tally[i];
        if (r->op != op || !wanted(k, i))
            continue;
        bool missed = t->ran == 0 && k->o.only < 0 && k->o.stride == 1;
        failed += t->failed > 0 || missed;
        printf("%s %-44s %5u cases, %u failed, worst error %.3f of the tolerance%s\n", t->failed > 0 || missed ? "FAIL" : "ok  ", r->name,
               t->ran, t->failed, t->worst,
               !missed                    ? ""
               : ck_generator(op) == NULL ? "; no cases for this operator"
                                          : "; it takes no case");
    }
    if (k->o.verbose)
        printf("     %s: %.2f s\n", tni_op_info(op)->name, seconds);
    fflush(stdout);
    return failed;
}

static uint32_t check_all(Check *k, uint32_t *rows) {
    uint32_t failed = 0;
    *rows = 0;
    for (uint32_t op = 0; op < TN_OP_COUNT; op++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < k->gpu.lib->n_kernels; i++)
            n += k->gpu.lib->kernels[i].op == (TnOp)op && wanted(k, i);
        *rows += n;
        if (n == 0)
            continue;
        uint64_t t = tni_now_ns();
        if (!k->dead)
            check_op(k, (TnOp)op);
        failed += report_op(k, (TnOp)op, (double)(tni_now_ns() - t) * 1e-9);
    }
    return failed;
}

/* ---- the program ---- */
static int usage(void) {
    fprintf(stderr, "usage: checkcuda [--op NAME] [--kernel PART] [--case N] [--seed N] [--quick] [--every N] [--time | --repeat N "
                    "[--type f32|f16|bf16]] [--device N] [--codes N]\n"
                    "                 [--separate] [--no-poison] [--functions | --broken | --list | --dry] [-v]\n");
    return 2;
}

typedef enum Mode { MODE_ALL, MODE_FUNCTIONS, MODE_BROKEN, MODE_LIST } Mode;

static TnDtype type_of(const char *name) {
    return strcmp(name, "f32") == 0 ? TN_F32 : strcmp(name, "f16") == 0 ? TN_F16 : strcmp(name, "bf16") == 0 ? TN_BF16 : TN_UNDEFINED;
}

static bool parse(int argc, char **argv, Options *o, Mode *mode) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--time") == 0)
            o->time = true;
        else if (strcmp(a, "--quick") == 0)
            o->stride = 7, o->codes = 8;
        else if (strcmp(a, "--separate") == 0)
            o->separate = true;
        else if (strcmp(a, "--no-poison") == 0)
            o->poison = false;
        else if (strcmp(a, "--dry") == 0)
            o->dry = true;
        else if (strcmp(a, "--functions") == 0)
            *mode = MODE_FUNCTIONS;
        else if (strcmp(a, "--broken") == 0)
            *mode = MODE_BROKEN;
        else if (strcmp(a, "--list") == 0)
            *mode = MODE_LIST;
        else if (strcmp(a, "-v") == 0)
            o->verbose = true;
        else if (next == NULL)
            return false;
        else if (strcmp(a, "--op") == 0)
            o->op = argv[++i];
        else if (strcmp(a, "--kernel") == 0)
            o->kernel = argv[++i];
        else if (strcmp(a, "--case") == 0)
            o->only = strtoll(argv[++i], NULL, 10);
        else if (strcmp(a, "--seed") == 0)
            o->seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(a, "--device") == 0)
            o->device = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(a, "--type") == 0 && type_of(next) != TN_UNDEFINED)
            o->type = type_of(argv[++i]);
        else if (strcmp(a, "--repeat") == 0)
            o->time = true, o->repeat = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(a, "--every") == 0)
            o->stride = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(a, "--codes") == 0)
            o->codes = (uint32_t)strtoul(argv[++i], NULL, 10);
        else
            return false;
    }
    return o->stride > 0;
}

static int list_rows(void) {
    const TnDeviceLibrary *lib;
    TnError err = {0};
    if (tni_device_library(TN_DEVICE_CUDA, &lib, &err) != TN_OK) {
        printf("FAIL %s\n", err.message);
        return 1;
    }
    for (uint32_t i = 0; i < lib->n_kernels; i++)
        printf("%-20s %-48s arch %u..%u math %u atol %g rtol %g%s%s\n", tni_op_info(lib->kernels[i].op)->name, lib->kernels[i].name,
               lib->kernels[i].arch_min, lib->kernels[i].arch_max, lib->kernels[i].math, lib->kernels[i].atol, lib->kernels[i].rtol,
               lib->kernels[i].packing != NULL ? " packs " : "", lib->kernels[i].packing != NULL ? lib->kernels[i].packing : "");
    return 0;
}

static int run_mode(Check *k, Mode mode) {
    uint32_t rows = 0, failed = 0;
    const TnDeviceInfo *g = &k->gpu.info;
    printf("%s, capability %u.%u, %u SMs, %.0f GiB, driver %u.%u, runtime %u.%u, cuBLASLt %s, NVRTC %s, seed %llu\n", g->name, g->arch / 10,
           g->arch % 10, g->sm_count, (double)g->memory_bytes * 0x1p-30, g->driver / 1000, g->driver % 1000 / 10, g->runtime / 1000,
           g->runtime % 1000 / 10, g->has_blaslt ? "found" : "missing", g->has_compiler ? "found" : "missing",
           (unsigned long long)k->o.seed);
    if (mode == MODE_BROKEN) {
        failed = check_broken(&k->gpu);
        printf("%s: a broken device\n", failed == 0 ? "passed" : "FAILED");
        return failed == 0 ? 0 : 1;
    }
    bool narrow = k->o.op != NULL || k->o.kernel != NULL || k->o.only >= 0;
    if (!k->o.dry && (mode == MODE_FUNCTIONS || (!narrow && !k->o.time))) {
        failed += check_functions(&k->gpu);
        printf("%s functions of the library\n", failed == 0 ? "ok  " : "FAIL");
    }
    if (k->o.time && !k->o.dry)
        failed += time_rows(&k->gpu, &k->o);
    else if (mode == MODE_ALL)
        failed += check_all(k, &rows);
    uint32_t cases = 0;
    for (uint32_t i = 0; i < k->gpu.lib->n_kernels; i++)
        cases += k->tally[i].ran;
    if (k->dead)
        printf("the device was lost; what is missing was not run\n");
    printf("%s: %u rows, %u cases, %u failed\n", failed == 0 && !k->dead ? "passed" : "FAILED", rows, cases, failed);
    return failed == 0 && !k->dead ? 0 : 1;
}

int main(int argc, char **argv) {
    ck_for_devices = true;
    Check k = {.o = {.only = -1, .seed = 1, .codes = 100, .stride = 1, .poison = true}};
    Mode mode = MODE_ALL;
    uint32_t n = 0;
    TnError err = {0};
    const TnDeviceLibrary *lib = NULL;
    if (!parse(argc, argv, &k.o, &mode))
        return usage();
    if (mode == MODE_LIST || mode == MODE_BROKEN)
        k.o.dry = false;
    if (mode == MODE_LIST)
        return list_rows();
    TnStatus st = tni_device_library(TN_DEVICE_CUDA, &lib, &err);
    if (st != TN_OK) {
        printf("FAIL %s\n", err.message);
        return 1;
    }
    if (!k.o.dry)
        st = lib->count(&n, &err);
    if (!k.o.dry && (st != TN_OK || n == 0)) {
        printf("skipped: no GPU%s%s\n", st != TN_OK ? ": " : "", st != TN_OK ? err.message : "");
        return 77;
    }
    k.tally = calloc(TN_MAX(lib->n_kernels, 1), sizeof *k.tally);
    if (k.tally == NULL || gpu_open(&k.gpu, &k.o, &err) != TN_OK) {
        printf("FAIL %s\n", err.message);
        return 1;
    }
    int status = run_mode(&k, mode);
    gpu_close(&k.gpu);
    free(k.tally);
    return status;
}
