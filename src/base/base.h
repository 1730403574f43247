/* SPDX-License-Identifier: Apache-2.0
 *
 * What every folder may use: errors, memory, checked arithmetic, text. Level 0. */
#ifndef TENON_BASE_H
#define TENON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tenon/hooks.h"
#include "tenon/status.h"
#include "tenon/tensor.h"

#if defined(__GNUC__)
#define TN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TN_CHECK_RESULT __attribute__((warn_unused_result))
#define TN_INLINE static inline __attribute__((always_inline))
#define TN_RESTRICT __restrict__
#else
#define TN_PRINTF(f, a)
#define TN_CHECK_RESULT
#define TN_INLINE static inline
#define TN_RESTRICT
#endif

#define TN_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TN_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- errors (error.c) ---- */

/* Fills *err (may be NULL) and returns code. Use through TN_RAISE, so that one breakpoint sees every failure. */
TnStatus tni_raise(TnError *err, TnStatus code, const char *fmt, ...) TN_PRINTF(3, 4);
/* As tni_raise, with the graph node's name in err->node and "node 'NAME': " before the message. */
TnStatus tni_raise_node(TnError *err, TnStatus code, const char *node, const char *fmt, ...) TN_PRINTF(4, 5);
/* As tni_raise, with err->offset and " (at byte N)" after the message. */
TnStatus tni_raise_at(TnError *err, TnStatus code, uint64_t offset, const char *fmt, ...) TN_PRINTF(4, 5);
/* Puts "PREFIX: " before the message already in *err; returns err->code or `code` when err is NULL. */
TnStatus tni_error_prefix(TnError *err, TnStatus code, const char *fmt, ...) TN_PRINTF(3, 4);
#define TN_RAISE(err, code, ...) tni_raise((err), (code), __VA_ARGS__)
#define TN_OOM(err, bytes) \
    tni_raise((err), TN_ERR_MEMORY, "out of memory: %zu bytes could not be allocated", (size_t)(bytes))

/* Returns the failing status from the enclosing function. */
#define TN_TRY(expr)                        \
    do {                                    \
        TnStatus tn_try_st = (expr);        \
        if (tn_try_st != TN_OK)             \
            return tn_try_st;               \
    } while (0)
/* Jumps to `fail:` with `st` set. */
#define TN_TRY_GOTO(expr)                   \
    do {                                    \
        st = (expr);                        \
        if (st != TN_OK)                    \
            goto fail;                      \
    } while (0)

void tni_log(const TnLog *log, TnLogLevel level, const char *fmt, ...) TN_PRINTF(3, 4);

/* ---- memory (memory.c) ---- */

/* malloc-based default; used wherever a caller passes NULL. */
const TnAllocator *tni_default_allocator(void);
/* NULL on failure or when n * size overflows. Zeroed. size == 0 or n == 0 gives a valid pointer. */
void *tni_calloc(const TnAllocator *a, size_t n, size_t size);
void *tni_alloc_aligned(const TnAllocator *a, size_t bytes, size_t align); /* not zeroed */
void tni_free(const TnAllocator *a, void *p);                              /* p may be NULL */

/* Bump arena: everything in it lives until tni_arena_destroy. Not thread safe. */
typedef struct TnArena TnArena;
TnStatus tni_arena_create(const TnAllocator *a, TnArena **out, TnError *err);
void tni_arena_destroy(TnArena **arena);
/* Zeroed, 16-byte aligned (tni_arena_alloc_aligned: any power of two up to 4096); NULL on failure or overflow. */
void *tni_arena_calloc(TnArena *arena, size_t n, size_t size);
void *tni_arena_alloc_aligned(TnArena *arena, size_t bytes, size_t align);
char *tni_arena_strdup(TnArena *arena, const char *s);
char *tni_arena_strndup(TnArena *arena, const char *s, size_t n); /* stops at n; result is NUL-terminated */
char *tni_arena_printf(TnArena *arena, const char *fmt, ...) TN_PRINTF(2, 3);
size_t tni_arena_bytes(const TnArena *arena); /* total bytes taken from the allocator */
const TnAllocator *tni_arena_allocator(const TnArena *arena);

/* Growable array in an arena: `T *items; uint32_t n, cap;`. Old storage stays in the arena until it dies.
 * TN_PUSH evaluates to a pointer to the new zeroed element or NULL when out of memory. */
void *tni_arena_grow(TnArena *arena, void *items, uint32_t n, uint32_t *cap, size_t elem_size);
#define TN_RESERVE_ONE(arena, items, n, cap) \
    ((n) < (cap) || ((items) = tni_arena_grow((arena), (items), (n), &(cap), sizeof *(items))) != NULL)

/* ---- checked arithmetic: false on overflow (or a negative result for the i64 forms) ---- */
TN_INLINE bool tni_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
TN_INLINE bool tni_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
TN_INLINE bool tni_mul_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
TN_INLINE bool tni_add_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }
TN_INLINE size_t tni_align_up(size_t v, size_t align) { return (v + align - 1) & ~(align - 1); }

/* Product of dims into *numel, and the bytes of that many elements of t into *bytes (either may be NULL).
 * false when a dim is negative, or a product overflows int64 / size_t. */
bool tni_shape_bytes(TnDtype t, int32_t rank, const int64_t *dims, int64_t *numel, size_t *bytes);

/* "[2,3,224,224]" into buf; returns buf. */
char *tni_shape_str(char *buf, size_t n, int32_t rank, const int64_t *dims);

/* ---- hash: 64-bit, for tables and identities (hash.c; XXH3) ---- */
uint64_t tni_hash(const void *data, size_t n, uint64_t seed);

/* Monotonic clock in nanoseconds. */
uint64_t tni_now_ns(void);

#endif
