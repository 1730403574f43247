/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of a device library that are not kernels, on a device; and what they say when the device has faulted. */
#include <stdio.h>
#include <stdlib.h>

#include "cuda/checkcuda.h"

static uint32_t failures;

static void expect(bool ok, const char *what, const TnError *err) {
    if (ok)
        return;
    failures++;
    printf("FAIL %s%s%s\n", what, err != NULL && err->message[0] != '\0' ? ": " : "", err != NULL ? err->message : "");
}

#define EXPECT_OK(expr) expect((expr) == TN_OK, #expr, &error)

/* ---- memory and copies ---- */
static void check_copies(Gpu *g) {
    const TnDeviceLibrary *lib = g->lib;
    TnError error = {0};
    enum { N = 100003 };
    static unsigned char out[N], back[N];
    void *a = NULL, *b = NULL, *pinned = NULL;
    uint64_t room = 0, total = 0;
    for (int i = 0; i < N; i++)
        out[i] = (unsigned char)(i * 31 + i / 256);
    EXPECT_OK(lib->alloc(g->dev, N + 1, &a, &error));
    EXPECT_OK(lib->alloc(g->dev, N + 1, &b, &error));
    EXPECT_OK(lib->alloc_host(g->dev, N, &pinned, &error));
    if (a == NULL || b == NULL || pinned == NULL)
        return;
    expect(((uintptr_t)a & 255) == 0 && ((uintptr_t)b & 255) == 0, "device memory is aligned to 256 bytes", NULL);
    expect(lib->is_device_pointer(g->dev, a) && lib->is_device_pointer(g->dev, (char *)b + 5), "device memory is known as such", NULL);
    expect(!lib->is_device_pointer(g->dev, out) && !lib->is_device_pointer(g->dev, NULL), "host memory is known as such", NULL);
    EXPECT_OK(lib->to_device(g->stream, (char *)a + 1, out, N, &error)); /* pageable, odd address */
    EXPECT_OK(lib->on_device(g->stream, b, (char *)a + 1, N, &error));
    EXPECT_OK(lib->to_host(g->stream, pinned, b, N, &error));
    EXPECT_OK(lib->to_host(g->stream, back, b, N, &error));
    EXPECT_OK(lib->synchronize(g->stream, &error));
    expect(memcmp(pinned, out, N) == 0, "copy to the device, on it, and back to pinned memory", NULL);
    expect(memcmp(back, out, N) == 0, "copy back to pageable memory", NULL);
    EXPECT_OK(lib->fill(g->stream, (char *)b + 3, 0x5A, 1000, &error));
    EXPECT_OK(lib->to_host(g->stream, back, b, N, &error));
    EXPECT_OK(lib->synchronize(g->stream, &error));
    expect(back[2] == out[2] && back[3] == 0x5A && back[1002] == 0x5A && back[1003] == out[1003], "fill", NULL);
    EXPECT_OK(lib->to_host(g->stream, NULL, NULL, 0, &error));
    EXPECT_OK(lib->memory(g->dev, &room, &total, &error));
    expect(room > 0 && room <= total && total <= g->info.memory_bytes + ((uint64_t)1 << 30), "free and total memory", NULL);
    lib->free(g->dev, a);
    lib->free(g->dev, b);
    lib->free(g->dev, NULL);
    lib->free_host(g->dev, pinned);
}

static void check_lack(Gpu *g) {
    TnError error = {0};
    void *p = &error;
    size_t bytes = (size_t)g->info.memory_bytes * 4;
    TnStatus st = g->lib->alloc(g->dev, bytes, &p, &error);
    char number[32];
    snprintf(number, sizeof number, "%zu", bytes);
    expect(st == TN_ERR_MEMORY && p == NULL, "too large an allocation fails with TN_ERR_MEMORY", &error);
    expect(strstr(error.message, number) != NULL && strstr(error.message, "free") != NULL, "the message has the bytes asked for and free",
           &error);
    EXPECT_OK(g->lib->alloc(g->dev, 1000, &p, &error)); /* and the device goes on */
    g->lib->free(g->dev, p);
}

static void check_opening(Gpu *g) {
    TnError error = {0};
    TnDevice *again = NULL, *none = NULL;
    uint32_t n = 0;
    EXPECT_OK(g->lib->open(g->info.index, &again, &error));
    expect(again == g->dev, "a device is opened once", NULL);
    g->lib->close(&again);
    expect(again == NULL, "close clears the pointer", NULL);
    EXPECT_OK(g->lib->count(&n, &error));
    expect(g->lib->open(n, &none, &error) == TN_ERR_DEVICE && none == NULL && strstr(error.message, "cuda:") != NULL,
           "a device that is not there", &error);
    EXPECT_OK(g->lib->activate(g->dev, &error));
    expect(g->info.sm_count > 0 && g->info.bytes_per_second > 1e11 && g->info.half_flops > 1e12 && g->info.shared_bytes >= 48 * 1024,
           "the device's numbers", NULL);
    g->lib->range("checkcuda");
    g->lib->range(NULL);
}

/* ---- order and recording ---- */
static void check_marks(Gpu *g) {
    const TnDeviceLibrary *lib = g->lib;
    TnError error = {0};
    TnStream *other = NULL, *wrapped = NULL;
    TnMark *from = NULL, *to = NULL, *plain = NULL;
    const size_t bytes = (size_t)64 << 20;
    unsigned char *p = NULL, last = 0;
    void *q = NULL;
    bool done = false;
    double ns = -1;
    EXPECT_OK(lib->alloc(g->dev, bytes, &q, &error));
    p = q;
    EXPECT_OK(lib->stream_create(g->dev, &other, &error));
    EXPECT_OK(lib->stream_wrap(g->dev, NULL, &wrapped, &error));
    EXPECT_OK(lib->mark_create(g->dev, true, &from, &error));
    EXPECT_OK(lib->mark_create(g->dev, true, &to, &error));
    EXPECT_OK(lib->mark_create(g->dev, false, &plain, &error));
    if (failures > 0)
        return;
    EXPECT_OK(lib->mark_set(from, g->stream, &error));
    for (int i = 0; i < 20; i++)
        EXPECT_OK(lib->fill(g->stream, p, i, bytes, &error));
    EXPECT_OK(lib->mark_set(to, g->stream, &error));
    EXPECT_OK(lib->mark_set(plain, g->stream, &error));
    EXPECT_OK(lib->mark_wait(plain, other, &error));
    EXPECT_OK(lib->to_host(other, &last, p + bytes - 1, 1, &error));
    EXPECT_OK(lib->synchronize(other, &error));
    expect(last == 19, "a stream waits for a mark of another", NULL);
    EXPECT_OK(lib->mark_done(plain, &done, &error));
    expect(done, "a mark is done once it was waited for", NULL);
    EXPECT_OK(lib->mark_elapsed(from, to, &ns, &error));
    expect(ns > 1e4 && ns < 1e9, "time between marks", NULL);
    EXPECT_OK(lib->fill(wrapped, p, 7, 16, &error));
    EXPECT_OK(lib->synchronize(wrapped, &error));
    lib->mark_destroy(&from);
    lib->mark_destroy(&to);
    lib->mark_destroy(&plain);
    lib->stream_destroy(&other);
    lib->stream_destroy(&wrapped);
    lib->free(g->dev, p);
}

static void check_recording(Gpu *g) {
    const TnDeviceLibrary *lib = g->lib;
    TnError error = {0};
    TnGraphExec *graph = NULL;
    void *a = NULL, *b = NULL;
    unsigned char back[64];
    EXPECT_OK(lib->alloc(g->dev, 64, &a, &error));
    EXPECT_OK(lib->alloc(g->dev, 64, &b, &error));
    EXPECT_OK(lib->fill(g->stream, b, 1, 64, &error));
    EXPECT_OK(lib->capture_begin(g->stream, &error));
    expect(lib->capture_begin(g->stream, &error) == TN_ERR_STATE, "a recording within a recording", NULL);
    EXPECT_OK(lib->fill(g->stream, a, 9, 32, &error));
    EXPECT_OK(lib->on_device(g->stream, b, a, 64, &error));
    EXPECT_OK(lib->capture_end(g->stream, &graph, &error));
    if (graph == NULL)
        return;
    for (int turn = 2; turn < 4; turn++) {
        EXPECT_OK(lib->fill(g->stream, a, turn, 64, &error));
        EXPECT_OK(lib->graph_launch(graph, g->stream, &error));
        EXPECT_OK(lib->to_host(g->stream, back, b, 64, &error));
        EXPECT_OK(lib->synchronize(g->stream, &error));
        expect(back[0] == 9 && back[31] == 9 && back[32] == turn && back[63] == turn, "recorded work is done when launched", NULL);
    }
    TnGraphExec *none = NULL;
    expect(lib->capture_end(g->stream, &none, &error) == TN_ERR_STATE && none == NULL, "an end without a beginning", NULL);
    lib->graph_destroy(&graph);
    lib->free(g->dev, a);
    lib->free(g->dev, b);
}

/* ---- generated code ---- */
static void check_code(Gpu *g) {
    const TnDeviceLibrary *lib = g->lib;
    TnError error = {0};
    TnModule *m = NULL;
    void *binary = NULL;
    size_t bytes = 0;
    static const unsigned char junk[256] = {0x7f, 'E', 'L', 'F', 2};
    expect(lib->module_load(g->dev, junk, 3, &m, &error) == TN_ERR_PLAN && m == NULL, "three bytes are no binary", &error);
    expect(lib->module_load(g->dev, junk, sizeof junk, &m, &error) != TN_OK && m == NULL, "an empty binary has no entry", &error);
    if (!g->info.has_compiler)
        return;
    EXPECT_OK(lib->compile("extern \"C\" __global__ void tenon_step(int *x) { *x = 1; }", g->info.arch, NULL, &binary, &bytes, &error));
    EXPECT_OK(lib->module_load(g->dev, binary, bytes, &m, &error));
    lib->module_free(&m);
    expect(m == NULL, "module_free clears the pointer", NULL);
    tni_free(NULL, binary);
    binary = NULL;
    EXPECT_OK(lib->compile("extern \"C\" __global__ void other() {}", g->info.arch, NULL, &binary, &bytes, &error));
    expect(lib->module_load(g->dev, binary, bytes, &m, &error) == TN_ERR_DEVICE && m == NULL, "code without the entry is refused", &error);
    tni_free(NULL, binary);
}

uint32_t check_functions(Gpu *g) {
    TnError error = {0};
    bool fault = true;
    int64_t index, limit;
    failures = 0;
    check_copies(g);
    check_lack(g);
    check_opening(g);
    check_marks(g);
    check_recording(g);
    check_code(g);
    EXPECT_OK(g->lib->take_fault(g->stream, &fault, &index, &limit, &error));
    expect(!fault, "no index fault without a kernel", NULL);
    return failures;
}

/* ---- after a fault ---- */

/* Runs a pointwise kernel on memory that is not there. */
static bool enqueue_fault(Gpu *g) {
    TnUnaryParams params = {TN_UNARY_neg, 0, 0};
    TnTensor in = {.dtype = TN_F32, .rank = 1, .dims = {4096}}, out = in;
    TnKernelQuery q = {TN_OP_unary, &params, &in, 1, &out, 1, 1, &g->info};
    for (uint32_t i = 0; i < g->lib->n_kernels; i++) {
        const TnKernel *k = &g->lib->kernels[i];
        TnError err = {0};
        if (k->op != TN_OP_unary || k->source != NULL || k->arch_min > g->info.arch || (k->arch_max != 0 && k->arch_max < g->info.arch) ||
            (k->supports != NULL && !k->supports(&q)))
            continue;
        in.data = (void *)(uintptr_t)0x10000;
        out.data = (void *)(uintptr_t)0x20000;
        TnKernelCall call = {.params = &params, .in = &in, .n_in = 1, .out = &out, .n_out = 1, .stream = g->stream, .err = &err};
        return k->run(&call) == TN_OK;
    }
    return false;
}

uint32_t check_broken(Gpu *g) {
    const TnDeviceLibrary *lib = g->lib;
    TnError error = {0};
    TnStream *s = NULL;
    TnMark *m = NULL;
    TnDevice *next = NULL;
    void *p = NULL;
    uint32_t n = 0;
    failures = 0;
    expect(enqueue_fault(g), "a kernel to fault with", NULL);
    TnStatus st = lib->synchronize(g->stream, &error);
    expect(st == TN_ERR_DEVICE && strstr(error.message, "unusable") != NULL, "the fault is reported", &error);
    printf("     %s\n", error.message);
    expect(lib->synchronize(g->stream, &error) == TN_ERR_DEVICE && strstr(error.message, "earlier") != NULL, "synchronize after the fault",
           &error);
    printf("     %s\n", error.message);
    expect(lib->alloc(g->dev, 64, &p, &error) == TN_ERR_DEVICE && p == NULL, "alloc after the fault", &error);
    expect(lib->stream_create(g->dev, &s, &error) == TN_ERR_DEVICE && s == NULL, "stream_create after the fault", &error);
    expect(lib->mark_create(g->dev, true, &m, &error) == TN_ERR_DEVICE && m == NULL, "mark_create after the fault", &error);
    expect(lib->fill(g->stream, g->pool, 0, 64, &error) == TN_ERR_DEVICE, "fill after the fault", &error);
    expect(lib->open(g->info.index, &next, &error) == TN_ERR_DEVICE, "open after the fault", &error);
    EXPECT_OK(lib->count(&n, &error));
    for (uint32_t i = 0; i < n; i++) { /* another device lives on */
        if (i == g->info.index)
            continue;
        EXPECT_OK(lib->open(i, &next, &error));
        EXPECT_OK(lib->alloc(next, 64, &p, &error));
        lib->free(next, p);
        lib->close(&next);
    }
    return failures;
}
