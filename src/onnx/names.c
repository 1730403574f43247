/* SPDX-License-Identifier: Apache-2.0
 *
 * Interned names and id maps, see names.h. */
#include "onnx/names.h"

TnStatus tni_onnx_names_init(OnnxNames *t, TnArena *arena, TnError *err) {
    memset(t, 0, sizeof *t);
    t->arena = arena;
    OnnxName empty = 0;
    return tni_onnx_intern(t, "", 0, &empty, err);
}

static TnStatus grow_slots(OnnxNames *t, TnError *err) {
    uint32_t n = t->n_slots == 0 ? 256 : t->n_slots * 2;
    uint32_t *slots = tni_arena_calloc(t->arena, n, sizeof *slots);
    if (slots == NULL || n < t->n_slots)
        return TN_OOM(err, (size_t)n * sizeof *slots);
    for (uint32_t id = 1; id < t->n; id++) {
        uint32_t i = (uint32_t)t->hash[id] & (n - 1);
        while (slots[i] != 0)
            i = (i + 1) & (n - 1);
        slots[i] = id;
    }
    t->slots = slots;
    t->n_slots = n;
    return TN_OK;
}

TnStatus tni_onnx_intern(OnnxNames *t, const char *s, size_t n, OnnxName *out, TnError *err) {
    *out = 0;
    if (n == 0 && t->n > 0)
        return TN_OK;
    uint64_t h = tni_hash(n == 0 ? "" : s, n, 0);
    if (t->n_slots == 0 || t->n >= t->n_slots / 2)
        TN_TRY(grow_slots(t, err));
    uint32_t i = (uint32_t)h & (t->n_slots - 1);
    for (; t->slots[i] != 0; i = (i + 1) & (t->n_slots - 1)) {
        uint32_t id = t->slots[i];
        if (t->hash[id] == h && strncmp(t->text[id], s, n) == 0 && t->text[id][n] == '\0') {
            *out = id;
            return TN_OK;
        }
    }
    char *copy = tni_arena_strndup(t->arena, n == 0 ? "" : s, n);
    if (copy == NULL)
        return TN_OOM(err, n + 1);
    if (!TN_RESERVE_ONE(t->arena, t->hash, t->n, t->cap_hash) || !TN_RESERVE_ONE(t->arena, t->text, t->n, t->cap))
        return TN_OOM(err, (size_t)t->n * 2 * sizeof *t->hash);
    uint32_t id = t->n++;
    t->text[id] = copy;
    t->hash[id] = h;
    if (id != 0)
        t->slots[i] = id;
    *out = id;
    return TN_OK;
}

const char *tni_onnx_text(const OnnxNames *t, OnnxName id) {
    return t->text[id];
}

static uint32_t spread(uint32_t key) {
    return (uint32_t)(((uint64_t)key * 0x9e3779b97f4a7c15u) >> 32);
}

bool tni_onnx_map_get(const OnnxMap *m, uint32_t key, uint32_t *value) {
    if (m->n_slots == 0)
        return false;
    for (uint32_t i = spread(key) & (m->n_slots - 1); m->slots[i].used; i = (i + 1) & (m->n_slots - 1)) {
        if (m->slots[i].key == key) {
            *value = m->slots[i].value;
            return true;
        }
    }
    return false;
}

static void place(struct OnnxMapSlot *slots, uint32_t n_slots, uint32_t key, uint32_t value) {
    uint32_t i = spread(key) & (n_slots - 1);
    while (slots[i].used && slots[i].key != key)
        i = (i + 1) & (n_slots - 1);
    slots[i] = (struct OnnxMapSlot){.key = key, .value = value, .used = true};
}

TnStatus tni_onnx_map_put(OnnxMap *m, uint32_t key, uint32_t value, TnError *err) {
    uint32_t old = 0;
    bool known = tni_onnx_map_get(m, key, &old);
    if (!known && m->n >= m->n_slots / 2) {
        uint32_t n = m->n_slots == 0 ? 32 : m->n_slots * 2;
        struct OnnxMapSlot *slots = tni_arena_calloc(m->arena, n, sizeof *slots);
        if (slots == NULL || n < m->n_slots)
            return TN_OOM(err, (size_t)n * sizeof *slots);
        for (uint32_t i = 0; i < m->n_slots; i++)
            if (m->slots[i].used)
                place(slots, n, m->slots[i].key, m->slots[i].value);
        m->slots = slots;
        m->n_slots = n;
    }
    place(m->slots, m->n_slots, key, value);
    m->n += known ? 0 : 1;
    return TN_OK;
}
