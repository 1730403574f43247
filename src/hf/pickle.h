/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's pickle format (protocols 2 to 5) as far as tensors need it. Nothing can be called: the only globals are those that rebuild tensors
 * and hold them, each is a constant here with one meaning in C; every other one is refused by name. Values live in the caller's arena. */
#ifndef TENON_HF_PICKLE_H
#define TENON_HF_PICKLE_H

#include "base/span.h"

typedef enum PickleKind {
    PICKLE_NONE, PICKLE_BOOL, PICKLE_INT, PICKLE_FLOAT, PICKLE_STRING, PICKLE_BYTES, PICKLE_TUPLE, PICKLE_LIST, PICKLE_DICT, PICKLE_SET,
    PICKLE_GLOBAL, PICKLE_STORAGE, PICKLE_TENSOR, PICKLE_OBJECT
} PickleKind;

typedef struct PickleValue PickleValue;

/* Elements of a storage: bytes of dtype `type` (TN_UNDEFINED: an untyped storage). */
typedef struct PickleStorage {
    const uint8_t *data;
    size_t bytes;
    TnDtype type;
} PickleStorage;

struct PickleValue {
    PickleKind kind;
    uint32_t n, cap; /* TUPLE, LIST, SET: items; DICT: 2 a pair, key then value; STRING, BYTES: n bytes */
    union {
        PickleValue **items;
        const char *text; /* STRING: NUL-terminated as well */
        int64_t i;        /* BOOL, INT (beyond 64 bits: saturated); GLOBAL: private */
        double f;
        PickleStorage storage;
        TnTensor *tensor;
    } u;
};

typedef struct PickleInput {
    TnArena *arena;
    const char *name; /* of the file, for messages */
    TnSpan text;
    /* The bytes of storage `key` of at least `bytes` bytes. */
    TnStatus (*storage)(void *ctx, const char *key, size_t bytes, PickleStorage *out, TnError *err);
    void *ctx;
    size_t copy_limit; /* views that are not dense are copied; at most so many bytes in all */
} PickleInput;

/* The value that the pickle holds. Errors: PARSE (with the offset), UNSUPPORTED (names the global or operation and its offset), DATA (a tensor
 * beyond its storage), LIMIT, MEMORY, and those of storage(). */
TnStatus tni_hf_pickle_read(const PickleInput *in, PickleValue **out, TnError *err);

/* dict[key], NULL when v is no dict or has no such key. The last of equal keys. */
PickleValue *tni_hf_pickle_get(const PickleValue *v, const char *key);

#endif
