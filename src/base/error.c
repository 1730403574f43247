/* SPDX-License-Identifier: Apache-2.0
 *
 * Status names, error details, logging. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

const char *tn_status_name(TnStatus code) {
    switch (code) {
#define X(c, number, name, meaning) \
    case c:                         \
        return name;
        TN_STATUS_MAP(X)
#undef X
    }
    return "unknown";
}

const char *tn_status_meaning(TnStatus code) {
    switch (code) {
#define X(c, number, name, meaning) \
    case c:                         \
        return meaning;
        TN_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

/* Copies src to dst, cutting at a UTF-8 boundary and turning control characters but newline into '?', so that names from a file can
 * neither break a terminal nor forge a log line. */
static void copy_text(char *dst, size_t cap, const char *src) {
    size_t n = 0;
    while (src[n] != '\0' && n + 1 < cap) {
        unsigned char c = (unsigned char)src[n];
        dst[n] = (c < 0x20 && c != '\n') || c == 0x7f ? '?' : (char)c;
        n++;
    }
    if (src[n] != '\0') {
        while (n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80)
            n--;
    }
    dst[n] = '\0';
}

static void fill(TnError *err, TnStatus code, const char *text) {
    memset(err, 0, sizeof *err);
    err->code = code;
    copy_text(err->message, sizeof err->message, text);
}

TnStatus tni_raise(TnError *err, TnStatus code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    char text[sizeof err->message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(err, code, text);
    return code;
}

TnStatus tni_raise_node(TnError *err, TnStatus code, const char *node, const char *fmt, ...) {
    if (err == NULL)
        return code;
    char text[sizeof err->message];
    int used = snprintf(text, sizeof text, "node '%.200s': ", node);
    size_t at = used < 0 ? 0 : TN_MIN((size_t)used, sizeof text - 1);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + at, sizeof text - at, fmt, ap);
    va_end(ap);
    fill(err, code, text);
    copy_text(err->node, sizeof err->node, node);
    return code;
}

TnStatus tni_raise_at(TnError *err, TnStatus code, uint64_t offset, const char *fmt, ...) {
    if (err == NULL)
        return code;
    char text[sizeof err->message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text - 40, fmt, ap);
    va_end(ap);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, " (at byte %llu)", (unsigned long long)offset);
    fill(err, code, text);
    err->offset = (int64_t)offset;
    err->has_offset = 1;
    return code;
}

TnStatus tni_error_prefix(TnError *err, TnStatus code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    char text[sizeof err->message];
    va_list ap;
    va_start(ap, fmt);
    int used = vsnprintf(text, sizeof text - 3, fmt, ap);
    va_end(ap);
    size_t at = used < 0 ? 0 : TN_MIN((size_t)used, sizeof text - 4);
    snprintf(text + at, sizeof text - at, ": %.*s", (int)(sizeof text - at - 3), err->message);
    copy_text(err->message, sizeof err->message, text);
    return err->code;
}

void tni_log(const TnLog *log, TnLogLevel level, const char *fmt, ...) {
    if (log == NULL || log->fn == NULL)
        return;
    char text[1024], clean[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    copy_text(clean, sizeof clean, text);
    for (char *p = clean; *p != '\0'; p++) {
        if (*p == '\n')
            *p = ' ';
    }
    log->fn(log->ctx, level, clean);
}

uint64_t tni_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
