/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding and opening device libraries. Only this file knows that they are shared objects. */
#include "backend/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_NAME "libtenon_cuda.so"

/* Names of the opened library's kernels, for lookup: slot = index + 1, 0 = empty; a power of two slots, at most half of them full. */
typedef struct Names {
    const TnDeviceLibrary *lib;
    uint32_t *slots, mask;
} Names;

static Names names;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- what was tried, for the message ---- */
typedef struct Tried {
    char text[1024];
    size_t n;
} Tried;

static void note(Tried *t, const char *path, const char *why) {
    if (t->n + 1 >= sizeof t->text)
        return;
    int n = snprintf(t->text + t->n, sizeof t->text - t->n, "\n  %s: %s", path, why);
    t->n = n < 0 ? t->n : TN_MIN(t->n + (size_t)n, sizeof t->text - 1);
}

/* ---- opening ---- */
static const TnDeviceLibrary *check(void *handle, const char *path, Tried *tried) {
    char why[256];
    TnDeviceLibraryFn fn;
    void *p = dlsym(handle, "tenon_device_library");
    memcpy(&fn, &p, sizeof fn);
    const TnDeviceLibrary *lib = p == NULL ? NULL : fn();
    if (lib == NULL) {
        note(tried, path, "this is no device library of Tenon: it does not export tenon_device_library");
        return NULL;
    }
    /* The table only grows: a larger one has all that this build knows. */
    if (lib->version != TN_DEVICE_LIBRARY_VERSION || lib->size < sizeof *lib || lib->kind != TN_DEVICE_CUDA) {
        snprintf(why, sizeof why,
                 "version %u with a table of %u bytes, this build of Tenon needs version %u with at least %zu bytes; use the library "
                 "that was built with this program",
                 lib->version, lib->size, TN_DEVICE_LIBRARY_VERSION, sizeof *lib);
        note(tried, path, why);
        return NULL;
    }
    return lib;
}

static const TnDeviceLibrary *try_open(const char *path, Tried *tried) {
    if (strchr(path, '/') != NULL && access(path, F_OK) != 0) {
        note(tried, path, "there is no such file");
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        note(tried, path, why == NULL ? "it could not be opened" : why);
        return NULL;
    }
    const TnDeviceLibrary *lib = check(handle, path, tried);
    if (lib == NULL)
        (void)dlclose(handle);
    return lib;
}

/* FOLDER/name and FOLDER/../lib/name, where FOLDER is that of the file `of`. */
static const TnDeviceLibrary *try_beside(const char *of, Tried *tried) {
    char real[PATH_MAX], path[PATH_MAX + 64];
    if (realpath(of, real) == NULL)
        return NULL;
    char *slash = strrchr(real, '/');
    if (slash == NULL)
        return NULL;
    *slash = '\0';
    snprintf(path, sizeof path, "%s/%s", real, FILE_NAME);
    const TnDeviceLibrary *lib = try_open(path, tried);
    if (lib != NULL)
        return lib;
    snprintf(path, sizeof path, "%s/../lib/%s", real, FILE_NAME);
    return try_open(path, tried);
}

static const TnDeviceLibrary *find(Tried *tried) {
    const char *given = getenv("TENON_CUDA_LIBRARY");
    /* What the user named is used or refused, never passed over in silence. */
    if (given != NULL && given[0] != '\0')
        return try_open(given, tried);
    static const char anchor = 0; /* an address in this library or program */
    Dl_info info;
    const TnDeviceLibrary *lib = NULL;
    bool shared = dladdr(&anchor, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, ".so") != NULL;
    if (shared)
        lib = try_beside(info.dli_fname, tried);
    if (lib == NULL)
        lib = try_beside("/proc/self/exe", tried);
    return lib != NULL ? lib : try_open(FILE_NAME, tried);
}

/* ---- kernels by name ---- */
static uint32_t slot_of(const Names *n, const char *name) {
    uint32_t i = (uint32_t)tni_hash(name, strlen(name), 0) & n->mask;
    while (n->slots[i] != 0 && strcmp(n->lib->kernels[n->slots[i] - 1].name, name) != 0)
        i = (i + 1) & n->mask;
    return i;
}

/* The table lives as long as the library: for the rest of the process. */
static TnStatus index_names(const TnDeviceLibrary *lib, TnError *err) {
    uint32_t size = 16;
    while (size < 2 * lib->n_kernels)
        size *= 2;
    Names n = {lib, tni_calloc(NULL, size, sizeof *n.slots), size - 1};
    if (n.slots == NULL)
        return TN_OOM(err, size * sizeof *n.slots);
    for (uint32_t i = 0; i < lib->n_kernels; i++) {
        uint32_t at = slot_of(&n, lib->kernels[i].name);
        if (n.slots[at] == 0) /* of two rows of one name the first counts */
            n.slots[at] = i + 1;
    }
    names = n;
    return TN_OK;
}

static TnStatus open_library(TnError *err) {
    Tried tried = {{0}, 0};
    const TnDeviceLibrary *lib = find(&tried);
    if (lib == NULL)
        return TN_RAISE(
            err, TN_ERR_DEVICE,
            "the GPU backend cannot be used; looked for it at:%s\nbuild Tenon with nvcc, or name the library in TENON_CUDA_LIBRARY, or "
            "run on the CPU",
            tried.text);
    return index_names(lib, err);
}

TnStatus tni_device_library(TnDeviceKind kind, const TnDeviceLibrary **out, TnError *err) {
    *out = NULL;
    if (kind != TN_DEVICE_CUDA)
        return TN_RAISE(err, TN_ERR_DEVICE, "device kind %d has no library", (int)kind);
    pthread_mutex_lock(&lock);
    TnStatus st = names.lib == NULL ? open_library(err) : TN_OK;
    *out = names.lib;
    pthread_mutex_unlock(&lock);
    return st;
}

const TnKernel *tni_device_kernel_find(const TnDeviceLibrary *lib, const char *name) {
    if (lib == NULL || name == NULL)
        return NULL;
    /* names is written once, before anyone can have lib from tni_device_library. */
    if (lib == names.lib) {
        uint32_t at = names.slots[slot_of(&names, name)];
        return at == 0 ? NULL : &lib->kernels[at - 1];
    }
    for (uint32_t i = 0; i < lib->n_kernels; i++)
        if (strcmp(lib->kernels[i].name, name) == 0)
            return &lib->kernels[i];
    return NULL;
}

bool tni_device_parse(const char *text, TnDeviceKind *kind, uint32_t *index) {
    uint32_t n = 0;
    *kind = TN_DEVICE_CPU;
    *index = 0;
    if (text == NULL)
        return false;
    if (strcmp(text, "cpu") == 0)
        return true;
    if (strncmp(text, "cuda", 4) != 0)
        return false;
    if (text[4] != '\0') {
        size_t digits = text[4] == ':' ? strspn(text + 5, "0123456789") : 0;
        if (digits == 0 || digits > 4 || text[5 + digits] != '\0')
            return false;
        for (const char *p = text + 5; *p != '\0'; p++)
            n = n * 10 + (uint32_t)(*p - '0');
    }
    *kind = TN_DEVICE_CUDA;
    *index = n;
    return true;
}
