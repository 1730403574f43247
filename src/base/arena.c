/* SPDX-License-Identifier: Apache-2.0
 *
 * Bump arena: a list of blocks; each new block is at least as large as all before it together (up to a cap), so a build makes few
 * allocations however large it is. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_BLOCK ((size_t)16 * 1024)
#define LARGEST_BLOCK ((size_t)4 * 1024 * 1024)

typedef struct Block {
    struct Block *next;
    size_t size, used; /* of the bytes that follow this header */
} Block;

struct TnArena {
    const TnAllocator *alloc;
    Block *blocks; /* newest first */
    size_t bytes;
};

TnStatus tni_arena_create(const TnAllocator *a, TnArena **out, TnError *err) {
    *out = tni_calloc(a, 1, sizeof **out);
    if (*out == NULL)
        return TN_OOM(err, sizeof **out);
    (*out)->alloc = a == NULL ? tni_default_allocator() : a;
    return TN_OK;
}

void tni_arena_destroy(TnArena **arena) {
    if (*arena == NULL)
        return;
    const TnAllocator *a = (*arena)->alloc;
    for (Block *b = (*arena)->blocks, *next; b != NULL; b = next) {
        next = b->next;
        tni_free(a, b);
    }
    tni_free(a, *arena);
    *arena = NULL;
}

/* Offset in b at which `bytes` fit with `align`, or SIZE_MAX. */
static size_t fit(const Block *b, size_t bytes, size_t align) {
    uintptr_t start = (uintptr_t)(b + 1);
    size_t at = tni_align_up(start + b->used, align) - start;
    return at <= b->size && bytes <= b->size - at ? at : SIZE_MAX;
}

void *tni_arena_alloc_aligned(TnArena *arena, size_t bytes, size_t align) {
    Block *b = arena->blocks;
    size_t at = b == NULL ? SIZE_MAX : fit(b, bytes, align);
    if (at == SIZE_MAX) {
        size_t want, total, grown = TN_MIN(TN_MAX(FIRST_BLOCK, arena->bytes), LARGEST_BLOCK);
        if (!tni_add_size(bytes, align, &want))
            return NULL;
        want = TN_MAX(want, grown);
        if (!tni_add_size(want, sizeof *b, &total))
            return NULL;
        Block *fresh = tni_alloc_aligned(arena->alloc, total, sizeof(max_align_t));
        if (fresh == NULL)
            return NULL;
        fresh->size = want;
        fresh->used = 0;
        arena->bytes += total;
        at = fit(fresh, bytes, align);
        /* A block for one large object goes behind the current one, whose room is kept for small ones. */
        if (b != NULL && bytes > grown / 2) {
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            arena->blocks = fresh;
        }
        b = fresh;
    }
    b->used = at + bytes;
    return (uint8_t *)(b + 1) + at;
}

void *tni_arena_calloc(TnArena *arena, size_t n, size_t size) {
    size_t bytes;
    if (!tni_mul_size(n, size, &bytes))
        return NULL;
    void *p = tni_arena_alloc_aligned(arena, bytes == 0 ? 1 : bytes, sizeof(max_align_t));
    if (p != NULL)
        memset(p, 0, bytes == 0 ? 1 : bytes);
    return p;
}

char *tni_arena_strndup(TnArena *arena, const char *s, size_t n) {
    n = strnlen(s, n);
    char *p = tni_arena_alloc_aligned(arena, n + 1, 1);
    if (p != NULL) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

char *tni_arena_strdup(TnArena *arena, const char *s) { return tni_arena_strndup(arena, s, strlen(s)); }

char *tni_arena_printf(TnArena *arena, const char *fmt, ...) {
    va_list ap, copy;
    va_start(ap, fmt);
    va_copy(copy, ap);
    int n = vsnprintf(NULL, 0, fmt, copy);
    va_end(copy);
    char *p = n < 0 ? NULL : tni_arena_alloc_aligned(arena, (size_t)n + 1, 1);
    if (p != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

size_t tni_arena_bytes(const TnArena *arena) { return arena->bytes; }

const TnAllocator *tni_arena_allocator(const TnArena *arena) { return arena->alloc; }

void *tni_arena_grow(TnArena *arena, void *items, uint32_t n, uint32_t *cap, size_t elem_size) {
    if (*cap > UINT32_MAX / 2)
        return NULL;
    uint32_t new_cap = TN_MAX(8u, *cap * 2);
    void *p = tni_arena_calloc(arena, new_cap, elem_size);
    if (p == NULL)
        return NULL;
    if (n != 0)
        memcpy(p, items, n * elem_size);
    *cap = new_cap;
    return p;
}
