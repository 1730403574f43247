/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and error details. Every fallible function of Tenon returns a TnStatus and takes a
 * TnError that the caller owns (or NULL when the caller wants the code alone). */
#ifndef TENON_STATUS_H
#define TENON_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) || !defined(__GNUC__)
#define TN_API
#else
#define TN_API __attribute__((visibility("default")))
#endif

/* X(code, number, name, meaning). Numbers are grouped by cause and never change:
 * 0 success, 1xx the caller, 2xx the model or another input file, 3xx resources, 4xx our own fault. */
#define TN_STATUS_MAP(X)                                                                             \
    X(TN_OK, 0, "ok", "success")                                                                     \
    X(TN_ERR_ARGUMENT, 100, "argument", "an argument of the call is invalid")                        \
    X(TN_ERR_NAME, 101, "name", "no input, output, symbol, pass or kernel has this name")            \
    X(TN_ERR_SHAPE, 102, "shape", "a tensor's shape does not fit what was declared")                 \
    X(TN_ERR_TYPE, 103, "type", "a tensor's element type does not fit what was declared")            \
    X(TN_ERR_STATE, 104, "state", "the call is not possible in the object's present state")          \
    X(TN_ERR_REQUEST, 105, "request", "what was asked for cannot be met on this machine")            \
    X(TN_ERR_PARSE, 200, "parse", "the file's bytes are not what its format demands")                \
    X(TN_ERR_GRAPH, 201, "graph", "the model's graph is not well formed")                            \
    X(TN_ERR_UNSUPPORTED, 202, "unsupported", "the model uses something that Tenon does not have")   \
    X(TN_ERR_VERSION, 203, "version", "a format or operator version is outside the supported range") \
    X(TN_ERR_DATA, 204, "data", "tensor data in the file is missing, too short or out of range")     \
    X(TN_ERR_PATH, 205, "path", "a path leaves the model's folder or is not a regular file")         \
    X(TN_ERR_LIMIT, 206, "limit", "the input asks for more than the limits allow")                   \
    X(TN_ERR_PLAN, 207, "plan", "the plan file is damaged")                                          \
    X(TN_ERR_INCOMPATIBLE, 208, "incompatible", "the plan was made for another build or machine")    \
    X(TN_ERR_RUN, 209, "run", "a step cannot compute its result from the values it was given")       \
    X(TN_ERR_INEXACT, 210, "inexact", "a result is further from the reference than allowed")         \
    X(TN_ERR_MEMORY, 300, "memory", "memory could not be allocated")                                 \
    X(TN_ERR_IO, 301, "io", "a file could not be opened, read or written")                           \
    X(TN_ERR_THREAD, 302, "thread", "a thread could not be started")                                 \
    X(TN_ERR_DEVICE, 303, "device", "the GPU, its driver or one of its libraries failed or is missing")  \
    X(TN_ERR_INTERNAL, 400, "internal", "a fault of Tenon itself; please report it")

typedef enum TnStatus {
#define X(code, number, name, meaning) code = number,
    TN_STATUS_MAP(X)
#undef X
} TnStatus;

/* Detail of the last failure. Plain data owned by the caller; no call frees or keeps it.
 * Start with `TnError err = {0};`. A successful call leaves it untouched. */
typedef struct TnError {
    TnStatus code;
    char message[1536]; /* one or more lines of UTF-8: what, where, expected, how to fix; no final newline */
    char node[256];     /* name of the graph node concerned, or "" */
    int64_t offset;     /* byte offset in the input file, valid when has_offset */
    int32_t has_offset;
} TnError;

/* Version of the library, "0.1.0". Static storage. */
TN_API const char *tn_version(void);
/* Name of a code ("shape"), or "unknown". Static storage. */
TN_API const char *tn_status_name(TnStatus code);
/* One-line meaning of a code. Static storage. */
TN_API const char *tn_status_meaning(TnStatus code);

#ifdef __cplusplus
}
#endif
#endif
