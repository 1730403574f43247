/* SPDX-License-Identifier: Apache-2.0
 *
 * What a host program may supply: memory and log. */
#ifndef TENON_HOOKS_H
#define TENON_HOOKS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory. alloc returns `size` bytes aligned to `align` (a power of two, at most 4096) or NULL; free accepts what alloc
 * returned, never NULL. Both may be called from several threads at once. The struct must outlive all objects made with it. */
typedef struct TnAllocator {
    void *(*alloc)(void *ctx, size_t size, size_t align);
    void (*free)(void *ctx, void *ptr);
    void *ctx;
} TnAllocator;

typedef enum TnLogLevel { TN_LOG_ERROR, TN_LOG_WARNING, TN_LOG_INFO, TN_LOG_DEBUG } TnLogLevel;

/* Log: message is one line of UTF-8 without newline, valid during the call. fn may be NULL (silence). */
typedef struct TnLog {
    void (*fn)(void *ctx, TnLogLevel level, const char *message);
    void *ctx;
} TnLog;

/* Progress of long work: phase is a short word, done <= total. Returning non-zero asks to stop (TN_ERR_STATE). */
typedef struct TnProgress {
    int (*fn)(void *ctx, const char *phase, size_t done, size_t total);
    void *ctx;
} TnProgress;

#ifdef __cplusplus
}
#endif
#endif
