/* SPDX-License-Identifier: Apache-2.0
 *
 * Names as numbers: every string of a model is stored once and compared by id; and a hash table from such ids to numbers. All memory is
 * in an arena, everything is O(1) a name. */
#ifndef TENON_ONNX_NAMES_H
#define TENON_ONNX_NAMES_H

#include "base/base.h"

typedef uint32_t OnnxName; /* 0: the empty string */

typedef struct OnnxNames {
    TnArena *arena;
    const char **text; /* [n], NUL-terminated */
    uint32_t n, cap;
    uint32_t *slots; /* open addressing: id, 0 = free */
    uint64_t *hash;  /* [cap_hash] of each id */
    uint32_t n_slots, cap_hash;
} OnnxNames;

TnStatus tni_onnx_names_init(OnnxNames *t, TnArena *arena, TnError *err);
/* The id of the n bytes at s, which hold no NUL. TN_ERR_MEMORY. */
TnStatus tni_onnx_intern(OnnxNames *t, const char *s, size_t n, OnnxName *out, TnError *err);
const char *tni_onnx_text(const OnnxNames *t, OnnxName id);

/* u32 -> u32. A zeroed struct with `arena` set is empty. */
typedef struct OnnxMap {
    TnArena *arena;
    struct OnnxMapSlot {
        uint32_t key, value;
        bool used;
    } * slots;
    uint32_t n, n_slots;
} OnnxMap;
bool tni_onnx_map_get(const OnnxMap *m, uint32_t key, uint32_t *value);
/* Sets or replaces. TN_ERR_MEMORY. */
TnStatus tni_onnx_map_put(OnnxMap *m, uint32_t key, uint32_t value, TnError *err);

#endif
