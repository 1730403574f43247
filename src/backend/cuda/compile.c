/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated code: source to a binary by NVRTC (found at run time; needs no GPU), binary to a loaded module, and its launch. */
#include "backend/cuda/device.h"

#include <dlfcn.h>
#include <elf.h>
#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>

#define NVRTC_FUNCTIONS(X)                                                                                                                 \
    X(CreateProgram)                                                                                                                       \
    X(DestroyProgram)                                                                                                                      \
    X(CompileProgram)                                                                                                                      \
    X(GetCUBINSize)                                                                                                                        \
    X(GetCUBIN)                                                                                                                            \
    X(GetProgramLogSize)                                                                                                                   \
    X(GetProgramLog)                                                                                                                       \
    X(GetErrorString)

static struct {
    bool found;
    char why[512];
#define X(name) __typeof__(nvrtc##name) *name;
    NVRTC_FUNCTIONS(X)
#undef X
} nvrtc;
static pthread_once_t nvrtc_once = PTHREAD_ONCE_INIT;

static void nvrtc_open(void) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", NULL};
    void *lib = tni_cuda_dlopen(names, nvrtc.why, sizeof nvrtc.why), *p;
    if (lib == NULL)
        return;
    nvrtc.found = true;
#define X(name)                                                                                                                            \
    p = dlsym(lib, "nvrtc" #name);                                                                                                         \
    memcpy(&nvrtc.name, &p, sizeof p);                                                                                                     \
    nvrtc.found = nvrtc.found && p != NULL;
    NVRTC_FUNCTIONS(X)
#undef X
    if (!nvrtc.found)
        snprintf(nvrtc.why, sizeof nvrtc.why, "libnvrtc.so lacks functions of version 12");
}

bool tni_gpu_has_compiler(void) {
    pthread_once(&nvrtc_once, nvrtc_open);
    return nvrtc.found;
}

/* The compiler's words: as much as an error message holds. */
static TnStatus raise_log(nvrtcProgram program, nvrtcResult r, uint32_t arch, TnError *err) {
    size_t n = 0;
    char *log = nvrtc.GetProgramLogSize(program, &n) == NVRTC_SUCCESS && n > 1 ? tni_calloc(NULL, n + 1, 1) : NULL;
    if (log != NULL && nvrtc.GetProgramLog(program, log) != NVRTC_SUCCESS)
        log[0] = '\0';
    TnStatus code = r == NVRTC_ERROR_INVALID_OPTION ? TN_ERR_UNSUPPORTED : r == NVRTC_ERROR_OUT_OF_MEMORY ? TN_ERR_MEMORY : TN_ERR_INTERNAL;
    TnStatus st = TN_RAISE(err, code, "NVRTC could not compile generated code for compute capability %u.%u: %s\n%.1200s", arch / 10,
                           arch % 10, nvrtc.GetErrorString(r), log == NULL ? "" : log);
    tni_free(NULL, log);
    return st;
}

static TnStatus take_binary(nvrtcProgram program, const TnAllocator *a, void **binary, size_t *bytes, TnError *err) {
    size_t n = 0;
    nvrtcResult r = nvrtc.GetCUBINSize(program, &n);
    if (r != NVRTC_SUCCESS || n == 0)
        return TN_RAISE(err, TN_ERR_DEVICE, "NVRTC gave no binary: %s", nvrtc.GetErrorString(r));
    char *p = tni_alloc_aligned(a, n, 64);
    if (p == NULL)
        return TN_OOM(err, n);
    r = nvrtc.GetCUBIN(program, p);
    if (r != NVRTC_SUCCESS) {
        tni_free(a, p);
        return TN_RAISE(err, TN_ERR_DEVICE, "NVRTC gave no binary: %s", nvrtc.GetErrorString(r));
    }
    *binary = p;
    *bytes = n;
    return TN_OK;
}

TnStatus tni_gpu_compile(const char *source, uint32_t arch, const TnAllocator *a, void **binary, size_t *bytes, TnError *err) {
    *binary = NULL;
    *bytes = 0;
    if (!tni_gpu_has_compiler())
        return TN_RAISE(
            err, TN_ERR_UNSUPPORTED,
            "there is no compiler for generated code: %s; install NVRTC of the CUDA toolkit or name its folder in TENON_CUDA_PATH",
            nvrtc.why);
    char target[48];
    snprintf(target, sizeof target, "--gpu-architecture=sm_%u", arch);
    const char *options[] = {target, "--std=c++17", "--generate-line-info"};
    nvrtcProgram program = NULL;
    nvrtcResult r = nvrtc.CreateProgram(&program, source, "tenon_step.cu", 0, NULL, NULL);
    if (r != NVRTC_SUCCESS)
        return TN_RAISE(err, TN_ERR_DEVICE, "NVRTC could not start: %s", nvrtc.GetErrorString(r));
    r = nvrtc.CompileProgram(program, (int)TN_COUNT(options), options);
    TnStatus st = r != NVRTC_SUCCESS ? raise_log(program, r, arch, err) : take_binary(program, a, binary, bytes, err);
    (void)nvrtc.DestroyProgram(&program);
    return st;
}

/* ---- modules ---- */

/* The driver gets no size with the bytes: a file cut short must not make it read past them. */
static bool is_whole_elf(const void *binary, size_t bytes) {
    Elf64_Ehdr h;
    if (bytes < sizeof h)
        return false;
    memcpy(&h, binary, sizeof h);
    uint64_t sections = (uint64_t)h.e_shnum * h.e_shentsize, segments = (uint64_t)h.e_phnum * h.e_phentsize;
    return memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 && h.e_ident[EI_CLASS] == ELFCLASS64 && h.e_shoff <= bytes &&
           sections <= bytes - h.e_shoff && h.e_phoff <= bytes && segments <= bytes - h.e_phoff;
}

TnStatus tni_gpu_module_load(TnDevice *d, const void *binary, size_t bytes, TnModule **out, TnError *err) {
    const TniDriver *driver;
    *out = NULL;
    TN_TRY(tni_cuda_enter(d, err));
    TN_TRY(tni_cuda_driver(&driver, err));
    if (!is_whole_elf(binary, bytes))
        return TN_RAISE(err, TN_ERR_PLAN, "generated code: %zu bytes are not a whole GPU binary; build the plan again", bytes);
    TnModule *m = tni_calloc(NULL, 1, sizeof *m);
    if (m == NULL)
        return TN_OOM(err, sizeof *m);
    m->dev = d;
    CUresult r = driver->module_load(&m->module, binary);
    if (r == CUDA_SUCCESS)
        r = driver->module_function(&m->entry, m->module, "tenon_step");
    CUfunction mark = NULL; /* plans of older builds have none: their code does not wait */
    m->early = r == CUDA_SUCCESS && driver->module_function(&mark, m->module, "tenon_early") == CUDA_SUCCESS;
    if (r != CUDA_SUCCESS) {
        if (m->module != NULL)
            (void)driver->module_unload(m->module);
        tni_free(NULL, m);
        return tni_cuda_raise_driver(err, r, "loading generated code");
    }
    *out = m;
    return TN_OK;
}

void tni_gpu_module_free(TnModule **m) {
    const TniDriver *driver;
    if (m == NULL || *m == NULL)
        return;
    tni_gpu_leave((*m)->dev);
    if (tni_cuda_driver(&driver, NULL) == TN_OK)
        (void)driver->module_unload((*m)->module);
    tni_free(NULL, *m);
    *m = NULL;
}

TnStatus tni_cuda_launch_code(TnKernelCall *call, unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned shared_bytes, void **args,
                              const char *what) {
    const TniDriver *driver;
    TN_TRY(tni_cuda_driver(&driver, call->err));
    if (call->code == NULL)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: the step's generated code was not loaded", what);
    TnDevice *d = call->stream->dev;
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;
    if (d->early != 0 && call->code->early && driver->launch_with != NULL) {
        CUlaunchAttribute early = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                   .value.programmaticStreamSerializationAllowed = 1};
        CUlaunchConfig c = {.gridDimX = grid_x,
                            .gridDimY = grid_y,
                            .gridDimZ = 1,
                            .blockDimX = block_x,
                            .blockDimY = 1,
                            .blockDimZ = 1,
                            .sharedMemBytes = shared_bytes,
                            .hStream = call->stream->s,
                            .attrs = &early,
                            .numAttrs = 1};
        r = driver->launch_with(&c, call->code->entry, args, NULL);
        if (r == CUDA_ERROR_NOT_SUPPORTED || r == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
            d->early = 0;
        else
            return tni_cuda_raise_driver(call->err, r, what);
    }
    r = driver->launch(call->code->entry, grid_x, grid_y, 1, block_x, 1, 1, shared_bytes, call->stream->s, args, NULL);
    return tni_cuda_raise_driver(call->err, r, what);
}
