/* SPDX-License-Identifier: Apache-2.0
 *
 * Error details, whole files, growable text. */
#include "pipelines/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

TnStatus tnp_write_file(const char *path, const void *data, size_t n, TnError *err) {
    char part[4200];
    if (snprintf(part, sizeof part, "%s.part%ld", path, (long)getpid()) >= (int)sizeof part)
        return tnp_fail(err, TN_ERR_IO, "the path '%.100s...' is too long", path);
    FILE *f = fopen(part, "wb");
    bool ok = f != NULL && fwrite(data, 1, n, f) == n;
    ok = f != NULL && fclose(f) == 0 && ok;
    if (ok && rename(part, path) == 0)
        return TN_OK;
    TnStatus st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
    remove(part);
    return st;
}

/* ---- growable text ---- */

void tnp_text_append(TnpText *t, const void *data, size_t n) {
    if (t->failed)
        return;
    if (n > t->cap - t->n) {
        size_t cap = (t->n + n) * 2;
        char *grown = realloc(t->p, cap);
        t->failed = grown == NULL;
        if (t->failed)
            return;
        t->p = grown;
        t->cap = cap;
    }
    if (n > 0)
        memcpy(t->p + t->n, data, n);
    t->n += n;
}

void tnp_text_put(TnpText *t, const char *s) { tnp_text_append(t, s, strlen(s)); }

void tnp_text_printf(TnpText *t, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tnp_text_append(t, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void tnp_text_html(TnpText *t, const char *s) {
    for (; *s != '\0'; s++) {
        const char *name = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&quot;" : NULL;
        tnp_text_append(t, name != NULL ? name : s, name != NULL ? strlen(name) : 1);
    }
}

void tnp_text_base64(TnpText *t, const void *data, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 | (i + 2 < n ? p[i + 2] : 0u);
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
        tnp_text_append(t, out, 4);
    }
}

TnStatus tnp_text_save(TnpText *t, const char *path, TnError *err) {
    TnStatus st = t->failed ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: '%s'", path) : tnp_write_file(path, t->p == NULL ? "" : t->p, t->n, err);
    free(t->p);
    *t = (TnpText){0};
    return st;
}
