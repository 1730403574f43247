/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pipelines share: error details, whole files, items side by side, growable text. */
#ifndef TENON_PIPELINES_UTIL_H
#define TENON_PIPELINES_UTIL_H

#include <stdbool.h>

#include "tenon/tensor.h"

/* Fills *err (may be NULL) and returns code. */
TnStatus tnp_fail(TnError *err, TnStatus code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A whole file into heap memory, with a NUL behind it that *n does not count; "-" is standard input. IO, LIMIT, MEMORY. */
TnStatus tnp_read_file(const char *path, size_t max_bytes, void **data, size_t *n, TnError *err);
/* Writes a file whole or not at all. IO. */
TnStatus tnp_write_file(const char *path, const void *data, size_t n, TnError *err);

/* Does items 0 to n - 1 on up to `threads` threads, the caller's among them (0: one a core). Items must not depend on each other. After an error no further item
 * is begun; the error is that of the first item that failed. */
typedef TnStatus (*TnpJob)(void *context, uint32_t item, TnError *err);
TnStatus tnp_parallel(uint32_t n, uint32_t threads, TnpJob job, void *context, TnError *err);

/* Growable bytes: start zeroed, append, then save or free p. A failed allocation sets failed, and what follows is dropped. */
typedef struct TnpText {
    char *p;
    size_t n, cap;
    bool failed;
} TnpText;
void tnp_text_append(TnpText *t, const void *data, size_t n);
void tnp_text_put(TnpText *t, const char *s);
void tnp_text_printf(TnpText *t, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* at most 1023 bytes at once */
void tnp_text_html(TnpText *t, const char *s); /* with & < > " as entities */
void tnp_text_base64(TnpText *t, const void *data, size_t n);
/* Writes it to a file, whole or not at all, and releases it. IO, MEMORY. */
TnStatus tnp_text_save(TnpText *t, const char *path, TnError *err);

#endif
