/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a checkpoint from a copy of its bytes in a block of their own, so that a sanitizer sees a read past the end. */
#ifndef TENON_TESTS_HF_READ_COPY_H
#define TENON_TESTS_HF_READ_COPY_H

#include <stdlib.h>
#include <string.h>

#include "hf/safetensors.h"

typedef TnStatus (*ReadCheckpoint)(HfCheckpoint *c, TnSpan file, const char *name, TnError *err);

static TnStatus read_copy(ReadCheckpoint read, const void *data, size_t n, TnError *err) {
    HfCheckpoint c = {0};
    assert_int_equal(tni_arena_create(NULL, &c.arena, NULL), TN_OK);
    uint8_t *copy = malloc(n + 1);
    memcpy(copy, data, n);
    TnStatus st = read(&c, (TnSpan){copy, n, 0}, "x", err);
    free(copy);
    tni_arena_destroy(&c.arena);
    return st;
}

#endif
