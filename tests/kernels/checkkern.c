/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of checkkern: for every case, the reference once, then every kernel row that takes the case: with 1, 2 and 3 threads (same
 * bits), in place where the operator allows it (same bits), inputs untouched, canaries intact, within the row's tolerance.
 * A row that no case reached fails.
 *
 *   test_checkkern [--op NAME] [--kernel NAME] [--case N] [--seed N] [--bench] [-v] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "kernels/checkkern.h"

typedef struct Options {
    const char *op, *kernel;
    int64_t only; /* one case, -1: all */
    uint64_t seed;
    bool bench, verbose;
} Options;

typedef struct Tally {
    uint32_t ran, failed;
} Tally;

static TnThreads *teams[4]; /* by number of threads; 1: NULL */

/* ---- one run of one kernel ---- */
typedef struct Run {
    TnTensor in[CASE_IN], out[CASE_OUT];
    const void *packed[CASE_IN];
    void *scratch;
    size_t scratch_bytes;
    bool has_packed;
    TnError err;
} Run;

static TnKernelQuery query_of(const Case *c, TnTensor *in, TnTensor *out, uint32_t threads) {
    for (uint32_t i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        if (!c->constant[i])
            in[i].data = NULL;
    }
    for (uint32_t i = 0; i < c->n_out; i++) {
        out[i] = c->out[i];
        out[i].data = NULL;
    }
    return (TnKernelQuery){c->op, &c->params, in, c->n_in, out, c->n_out, threads, NULL};
}

/* Outputs filled with a pattern (so that what is not written shows), states copied, constants packed, scratch of the exact size. */
static bool prepare(Case *c, const TnKernel *k, uint32_t threads, int64_t inplace, Run *r) {
    TnTensor qin[CASE_IN], qout[CASE_OUT];
    TnKernelQuery q = query_of(c, qin, qout, threads);
    memset(r, 0, sizeof *r);
    for (uint32_t i = 0; i < c->n_in; i++) {
        r->in[i] = c->in[i];
        if (c->state[i]) {
            size_t bytes = tn_tensor_bytes(&c->in[i]);
            r->in[i].data = ck_buffer(c, bytes, TN_MAX(tn_dtype_bits(c->in[i].dtype) / 8, 1));
            if (r->in[i].data == NULL)
                return false;
            memcpy(r->in[i].data, c->in[i].data, bytes);
        }
    }
    for (uint32_t i = 0; i < c->n_out; i++) {
        r->out[i] = c->out[i];
        if (c->out[i].data == NULL)
            continue;
        size_t bytes = tn_tensor_bytes(&c->out[i]);
        r->out[i].data = ck_buffer(c, bytes, TN_MAX(tn_dtype_bits(c->out[i].dtype) / 8, 1));
        if (r->out[i].data == NULL)
            return false;
        memset(r->out[i].data, 0x5A, bytes);
    }
    if (inplace >= 0) {
        memcpy(r->out[0].data, c->in[inplace].data, tn_tensor_bytes(&c->out[0]));
        r->in[inplace].data = r->out[0].data;
    }
    Placement place = c->place;
    c->place = PLACE_ALIGNED; /* scratch and packed memory are aligned by contract */
    for (uint32_t i = 0; i < c->n_in && k->packed_bytes != NULL; i++) {
        size_t bytes = c->constant[i] ? k->packed_bytes(&q, i) : 0;
        if (bytes == 0)
            continue;
        void *p = ck_buffer(c, bytes, 1);
        if (p == NULL)
            return false;
        k->pack(&q, i, p);
        r->packed[i] = p;
        r->has_packed = true;
    }
    r->scratch_bytes = k->scratch != NULL ? k->scratch(&q) : 0;
    r->scratch = r->scratch_bytes > 0 ? ck_buffer(c, r->scratch_bytes, 1) : NULL;
    if (r->scratch != NULL)
        memset(r->scratch, 0xA5, r->scratch_bytes);
    c->place = place;
    return r->scratch_bytes == 0 || r->scratch != NULL;
}

/* Operators that size their results: a buffer of a case is as large as they can get. */
static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    TnTensor *t = &call->out[i];
    const size_t room = *(const size_t *)call->host;
    t->rank = rank;
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    return i > 0 || tn_tensor_bytes(t) <= room ? TN_OK : TN_RAISE(call->err, TN_ERR_INTERNAL, "the result is larger than it can be");
}

static TnStatus execute(const Case *c, const TnKernel *k, uint32_t threads, Run *r) {
    size_t room = c->n_out > 0 ? tn_tensor_bytes(&c->out[0]) : 0;
    TnKernelCall call = {.params = &c->params,
                         .in = r->in,
                         .n_in = c->n_in,
                         .out = r->out,
                         .n_out = c->n_out,
                         .packed = r->has_packed ? r->packed : NULL,
                         .scratch = r->scratch,
                         .scratch_bytes = r->scratch_bytes,
                         .threads = teams[threads],
                         .resize = resize,
                         .host = &room,
                         .err = &r->err};
    return k->run(&call);
}

/* ---- comparing ---- */
static bool same_dims(const TnTensor *a, const TnTensor *b) {
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

static bool same_bits(const TnTensor *a, const TnTensor *b) {
    return a->data == NULL || (same_dims(a, b) && memcmp(a->data, b->data, tn_tensor_bytes(a)) == 0);
}

/* The same values; a NaN may be another one (which operand's payload survives is the compiler's choice, made anew for aliased memory). */
static bool same_values(const TnTensor *a, const TnTensor *b) {
    if (same_bits(a, b))
        return true;
    for (int64_t i = 0, n = tn_tensor_numel(a); i < n; i++) {
        float u, v;
        if (a->dtype != TN_F32)
            return false;
        memcpy(&u, (const float *)a->data + i, 4);
        memcpy(&v, (const float *)b->data + i, 4);
        if (memcmp(&u, &v, 4) != 0 && !(u != u && v != v))
            return false;
    }
    return true;
}

typedef struct Worst {
    double share; /* of the tolerance; > 1 fails */
    int64_t at;
    double got, want;
} Worst;

static void compare_floats(const TnTensor *y, const TnTensor *ref, double atol, double rtol, Worst *w) {
    int64_t n = tn_tensor_numel(y);
    double scale = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = fabs(tni_load_f64(ref->dtype, ref->data, i));
        if (v < INFINITY && v > scale)
            scale = v;
    }
    for (int64_t i = 0; i < n; i++) {
        double a = tni_load_f64(y->dtype, y->data, i), b = tni_load_f64(ref->dtype, ref->data, i), share;
        if (b != b || isinf(b) || a != a || isinf(a))
            share = (b != b && a != a) || a == b ? 0.0 : INFINITY;
        else if (a == b)
            share = 0.0;
        else
            share = fabs(a - b) / (atol * scale + rtol * fabs(b) + (atol + rtol > 0 ? 0x1p-126 : 0.0));
        if (!(share <= w->share))
            *w = (Worst){share, i, a, b};
    }
}

static void compare_exact(const TnTensor *y, const TnTensor *ref, Worst *w) {
    for (int64_t i = 0, n = tn_tensor_numel(y); i < n; i++) {
        int64_t a = tni_load_i64(y->dtype, y->data, i), b = tni_load_i64(ref->dtype, ref->data, i);
        bool same = a == b && (y->dtype != TN_BOOL || ((const uint8_t *)y->data)[i] <= 1);
        if (!same && !(w->share > 1))
            *w = (Worst){INFINITY, i, (double)a, (double)b};
    }
}

static void compare(const TnTensor *y, const TnTensor *ref, const TnKernel *k, Worst *w) {
    if (y->data == NULL)
        return;
    if (tn_dtype_bits(y->dtype) < 8) {
        if (!same_bits(y, ref))
            *w = (Worst){INFINITY, -1, 0, 0};
    } else if (tni_dtype_is_float(y->dtype)) {
        compare_floats(y, ref, k->atol, k->rtol, w);
    } else {
        compare_exact(y, ref, w);
    }
}

static bool report(const Case *c, const TnKernel *k, const Options *o, const char *text, const char *detail) {
    printf("FAIL %s, case %u (--op %s --case %u --seed %llu): %s%s\n", k->name, c->k, tni_op_info(c->op)->name, c->k,
           (unsigned long long)o->seed, text, detail);
    printf("     %s; placement %s\n", c->what,
           c->place == PLACE_ALIGNED   ? "aligned"
           : c->place == PLACE_SHIFTED ? "shifted by one element"
                                       : "against a guard page");
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) {
        const TnTensor *t = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        char shape[128];
        printf("     %s %u: %s %s\n", i < c->n_in ? "in" : "out", i < c->n_in ? i : i - c->n_in, tn_dtype_name(t->dtype),
               tni_shape_str(shape, sizeof shape, t->rank, t->dims));
    }
    return false;
}

/* ---- a case on a kernel ---- */
static bool check_against(Case *c, const TnKernel *k, const Run *ref, const Run *r, const Options *o, uint32_t threads) {
    char text[256];
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) {
        bool is_out = i < c->n_out;
        Worst w = {0, 0, 0, 0};
        if (!is_out && !c->state[i - c->n_out])
            continue;
        const TnTensor *y = is_out ? &r->out[i] : &r->in[i - c->n_out], *want = is_out ? &ref->out[i] : &ref->in[i - c->n_out];
        if (y->data != NULL && !same_dims(y, want))
            return report(c, k, o, "another shape than the reference", "");
        compare(y, want, k, &w);
        if (!(w.share <= 1.0)) {
            snprintf(text, sizeof text, "output %u element %lld is %.9g, the reference has %.9g (%.3g of the tolerance), %u threads", i,
                     (long long)w.at, w.got, w.want, w.share, threads);
            return report(c, k, o, text, "");
        }
        if (o->verbose)
            printf("  %s case %u: output %u at %.3f of the tolerance\n", k->name, c->k, i, w.share);
    }
    return true;
}

static bool check_same(Case *c, const TnKernel *k, const Run *a, const Run *b, const Options *o, const char *how) {
    for (uint32_t i = 0; i < c->n_out; i++)
        if (!same_bits(&a->out[i], &b->out[i]))
            return report(c, k, o, "other bits than with one thread: ", how);
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->state[i] && !same_bits(&a->in[i], &b->in[i]))
            return report(c, k, o, "other state than with one thread: ", how);
    return true;
}

static uint64_t inputs_hash(const Case *c) {
    uint64_t h = 1;
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i].data != NULL)
            h = tni_hash(c->in[i].data, tn_tensor_bytes(&c->in[i]), h);
    return h;
}

/* The output may take an input's place only where each element lies where its result goes. */
static bool same_form(const TnTensor *a, const TnTensor *b) {
    return a->data != NULL && b->data != NULL && tn_dtype_bits(a->dtype) == tn_dtype_bits(b->dtype) && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

static bool check_inplace(Case *c, const TnKernel *k, const Run *first, const Options *o) {
    Run r;
    if ((tni_op_info(c->op)->flags & TN_OPF_INPLACE) == 0 || c->skip_inplace)
        return true;
    for (uint32_t i = 0; i < c->n_in; i++) {
        if (!same_form(&c->in[i], &c->out[0]) || c->constant[i] || c->state[i])
            continue;
        if (!prepare(c, k, 2, i, &r))
            return report(c, k, o, "no memory for the test", "");
        if (execute(c, k, 2, &r) != TN_OK)
            return report(c, k, o, "in place: ", r.err.message);
        if (!same_values(&first->out[0], &r.out[0]))
            return report(c, k, o, "other values in place", "");
    }
    return true;
}

static bool check_kernel(Case *c, const TnKernel *k, const Run *ref, TnStatus want, const Options *o) {
    Run first, r;
    uint64_t before = inputs_hash(c);
    tni_cpu_mask(k->cpu);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        Run *now = threads == 1 ? &first : &r;
        if (!prepare(c, k, threads, -1, now))
            return report(c, k, o, "no memory for the test", "");
        TnStatus st = execute(c, k, threads, now);
        if (st != want) {
            char text[64];
            snprintf(text, sizeof text, "status %s, expected %s; ", tn_status_name(st), tn_status_name(want));
            return report(c, k, o, text, st != TN_OK ? now->err.message : "");
        }
        if (!ck_canaries_ok(c))
            return report(c, k, o, "wrote outside of its buffers", "");
        if (inputs_hash(c) != before)
            return report(c, k, o, "changed an input", "");
        if (want != TN_OK)
            continue;
        if (threads == 1 ? !check_against(c, k, ref, now, o, threads) : !check_same(c, k, &first, now, o, threads == 2 ? "2" : "3"))
            return false;
    }
    if (want == TN_OK && !check_inplace(c, k, &first, o))
        return false;
    return ck_canaries_ok(c) || report(c, k, o, "wrote outside of its buffers in place", "");
}

static double operand_bytes(const Case *c) {
    double bytes = 0;
    for (uint32_t i = 0; i < c->n_in; i++) /* a table of which rows are picked counts as the rows */
        if (c->in[i].data != NULL && !(c->op == TN_OP_gather && i == 0))
            bytes += (double)tn_tensor_bytes(&c->in[i]);
    for (uint32_t i = 0; i < c->n_out; i++)
        bytes += c->out[i].data != NULL ? (double)tn_tensor_bytes(&c->out[i]) * (c->op == TN_OP_gather ? 2.0 : 1.0) : 0.0;
    return bytes;
}

/* Best time of the kernel, and, taken in turn with it so that a busy machine slows both, of a copy that moves as many bytes: the floor. */
static void bench_kernel(Case *c, const TnKernel *k) {
    Run r;
    tni_cpu_mask(k->cpu);
    double bytes = operand_bytes(c);
    size_t half = (size_t)(bytes / 2.0) + 1;
    unsigned char *from = ck_buffer(c, half, 1), *to = ck_buffer(c, half, 1);
    if (!prepare(c, k, 1, -1, &r) || from == NULL || to == NULL)
        return;
    uint64_t best = UINT64_MAX, floor = UINT64_MAX, begin = tni_now_ns();
    for (int i = 0; i < 1000 && (i < 5 || tni_now_ns() - begin < 400000000u); i++) {
        uint64_t t = tni_now_ns();
        memcpy(to, from, half);
        uint64_t u = tni_now_ns();
        if (execute(c, k, 1, &r) != TN_OK)
            return;
        floor = TN_MIN(floor, u - t);
        u = tni_now_ns() - u;
        best = TN_MIN(best, u);
    }
    TnTensor qin[CASE_IN], qout[CASE_OUT];
    TnKernelQuery q = query_of(c, qin, qout, 1);
    printf("%-28s %-40.40s %10.1f us %6.1f GB/s  %5.2f x copy  (cost %.1f us)\n", k->name, c->what, (double)best * 1e-3,
           bytes / (double)best, (double)best / (double)TN_MAX(floor, 1), k->cost != NULL ? k->cost(&q) * 1e-3 : 0.0);
}

/* ---- all cases of an operator ---- */
static bool wanted(const TnKernel *k, const TnKernel *ref, const Options *o, uint32_t machine) {
    return k != ref && (k->cpu & ~machine) == 0 && (o->kernel == NULL || strstr(k->name, o->kernel) != NULL);
}

static void check_op(TnOp op, const TnKernel *all, uint32_t n, Tally *tally, const Options *o, uint32_t machine) {
    const TnKernel *ref = tni_kernel_ref(op);
    static Case c;
    for (uint32_t k = 0; ck_begin(&c, op, k, o->seed, o->bench); k++, ck_end(&c)) {
        Run want;
        if (o->only >= 0 && (int64_t)k != o->only)
            continue;
        TnStatus st = TN_OK;
        if (!o->bench) {
            if (!prepare(&c, ref, 1, -1, &want)) {
                tally[0].failed++;
                printf("FAIL no memory for the test\n");
                continue;
            }
            st = execute(&c, ref, 1, &want);
            if (st != TN_OK && st != TN_ERR_RUN)
                tally[0].failed += report(&c, ref, o, "the case is wrong, the reference says: ", want.err.message) ? 0 : 1;
        }
        uint32_t buffers = c.n_buffers;
        for (uint32_t i = 0; i < n; i++) {
            TnTensor qin[CASE_IN], qout[CASE_OUT];
            TnKernelQuery q = query_of(&c, qin, qout, 1);
            if (all[i].op != op || !wanted(&all[i], ref, o, machine) || (all[i].supports != NULL && !all[i].supports(&q)))
                continue;
            if (o->bench) {
                bench_kernel(&c, &all[i]);
            } else {
                tally[i].ran++;
                if (!check_kernel(&c, &all[i], &want, st, o))
                    tally[i].failed++;
            }
            tni_cpu_mask(UINT32_MAX);
            ck_release(&c, buffers);
        }
    }
    ck_end(&c);
}

static bool run_all(const Options *o) {
    uint32_t n, machine = tni_cpu_flags();
    const TnKernel *all = tni_kernels(&n);
    Tally *tally = calloc(n, sizeof *tally);
    bool ok = tally != NULL, found = false;
    for (uint32_t op = 0; op < TN_OP_COUNT && ok; op++) {
        bool any = false;
        for (uint32_t i = 0; i < n; i++)
            any |= all[i].op == (TnOp)op && wanted(&all[i], tni_kernel_ref((TnOp)op), o, machine);
        if (!any || (o->op != NULL && strcmp(o->op, tni_op_info((TnOp)op)->name) != 0))
            continue;
        found = true;
        uint64_t t = tni_now_ns();
        uint32_t failed = 0;
        check_op((TnOp)op, all, n, tally, o, machine);
        for (uint32_t i = 0; i < n && !o->bench; i++) {
            if (all[i].op != (TnOp)op || !wanted(&all[i], tni_kernel_ref((TnOp)op), o, machine))
                continue;
            failed += tally[i].failed;
            if (tally[i].ran == 0 && o->only < 0) {
                printf("FAIL %s: no cases for op %s%s\n", all[i].name, tni_op_info((TnOp)op)->name,
                       ck_generator((TnOp)op) == NULL ? " (write a generator)" : " that this kernel supports");
                failed++;
            } else {
                printf("%s %-36s %5u cases, %u failed\n", tally[i].failed == 0 ? "ok  " : "FAIL", all[i].name, tally[i].ran,
                       tally[i].failed);
            }
        }
        if (!o->bench)
            printf("     %s: %.2f s\n", tni_op_info((TnOp)op)->name, (double)(tni_now_ns() - t) * 1e-9);
        if (failed > 0)
            found = true, tally[0].failed++;
    }
    bool bad = !ok || !found;
    for (uint32_t i = 0; i < n && tally != NULL; i++)
        bad |= tally[i].failed > 0;
    free(tally);
    if (!found)
        printf("FAIL no kernel row matches\n");
    return !bad;
}

static int usage(void) {
    fprintf(stderr, "usage: test_checkkern [--op NAME] [--kernel PART] [--case N] [--seed N] [--bench] [-v]\n");
    return 2;
}

int main(int argc, char **argv) {
    Options o = {.only = -1, .seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--bench") == 0)
            o.bench = true;
        else if (strcmp(argv[i], "-v") == 0)
            o.verbose = true;
        else if (next == NULL)
            return usage();
        else if (strcmp(argv[i], "--op") == 0)
            o.op = argv[++i];
        else if (strcmp(argv[i], "--kernel") == 0)
            o.kernel = argv[++i];
        else if (strcmp(argv[i], "--case") == 0)
            o.only = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            o.seed = strtoull(argv[++i], NULL, 0);
        else
            return usage();
    }
    TnError err = {0};
    for (uint32_t t = 2; t <= 3; t++) {
        if (tni_threads_create(NULL, t, &teams[t], &err) != TN_OK) {
            printf("FAIL %s\n", err.message);
            return 1;
        }
    }
    printf("seed %llu, %s\n", (unsigned long long)o.seed, tni_cpu_level_name(tni_cpu_flags()));
    bool ok = run_all(&o);
    for (uint32_t t = 2; t <= 3; t++)
        tni_threads_destroy(&teams[t]);
    return ok ? 0 : 1;
}
