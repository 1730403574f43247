/* SPDX-License-Identifier: Apache-2.0
 *
 * Error details and whole files. */
#include "pipelines/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TnStatus tnp_fail(TnError *err, TnStatus code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    memset(err, 0, sizeof *err);
    err->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return code;
}

TnStatus tnp_read_file(const char *path, size_t max_bytes, void **data, size_t *n, TnError *err) {
    bool from_stdin = strcmp(path, "-") == 0;
    struct stat info;
    *data = NULL;
    *n = 0;
    if (!from_stdin && stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return tnp_fail(err, TN_ERR_IO, "'%s' is not a regular file", path);
    FILE *f = from_stdin ? stdin : fopen(path, "rb");
    if (f == NULL)
        return tnp_fail(err, TN_ERR_IO, "'%s' cannot be opened: %s", path, strerror(errno));
    char *buf = NULL;
    size_t used = 0, cap = 0;
    TnStatus st = TN_OK;
    for (;;) {
        if (used + 1 >= cap) {
            cap = cap == 0 ? 65536 : cap * 2;
            char *grown = realloc(buf, cap);
            if (grown == NULL) {
                st = tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %zu bytes", path, cap);
                break;
            }
            buf = grown;
        }
        size_t k = fread(buf + used, 1, cap - used - 1, f);
        used += k;
        if (used > max_bytes) {
            st = tnp_fail(err, TN_ERR_LIMIT, "'%s' is larger than %zu bytes", path, max_bytes);
            break;
        }
        if (k == 0) {
            if (ferror(f))
                st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be read: %s", path, strerror(errno));
            break;
        }
    }
    if (!from_stdin)
        fclose(f);
    if (st != TN_OK) {
        free(buf);
        return st;
    }
    buf[used] = '\0';
    *data = buf;
    *n = used;
    return TN_OK;
}
