/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pipelines share: error details, whole files, growable text. */
#ifndef TENON_PIPELINES_UTIL_H
#define TENON_PIPELINES_UTIL_H

#include <stdbool.h>

#include "tenon/tensor.h"

/* Fills *err (may be NULL) and returns code. */
TnStatus tnp_fail(TnError *err, TnStatus code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A whole file into heap memory, with a NUL behind it that *n does not count; "-" is standard input. IO, LIMIT, MEMORY. */
TnStatus tnp_read_file(const char *path, size_t max_bytes, void **data, size_t *n, TnError *err);

#endif
