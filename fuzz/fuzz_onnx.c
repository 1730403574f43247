/* SPDX-License-Identifier: Apache-2.0
 *
 * The ONNX importer and shape inference on any bytes: an error that says why, or a module that verifies. Memory is capped, so that a small
 * file which asks for much is told so by the allocator and not by the machine. Mutations know the wire format: they change one field of one
 * message and mend the lengths around it, so that most inputs get past the reader. */
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/wire.h"
#include "shape/shape.h"

enum { CAP_MB = 512 };

typedef struct Budget {
    size_t used;
} Budget;

/* Total, not live: one import should not churn either. */
static void *take(void *ctx, size_t size, size_t align) {
    Budget *b = ctx;
    void *p = NULL;
    if (size > (size_t)CAP_MB << 20 || b->used + size > (size_t)CAP_MB << 20)
        return NULL;
    b->used += size;
    return posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size == 0 ? 1 : size) == 0 ? p : NULL;
}

static void give(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    Budget budget = {0};
    TnAllocator a = {take, give, &budget};
    OnnxOptions o = {.max_nodes = 20000};
    IrModule *m = NULL;
    TnError err = {0};
    uint64_t hash = 0;
    TnStatus st = tni_onnx_import_memory(data, n, NULL, &o, &a, &m, &hash, &err);
    if (st == TN_ERR_INTERNAL || (st != TN_OK && (m != NULL || err.message[0] == '\0')))
        abort();
    if (st != TN_OK)
        return 0;
    st = tni_ir_verify(m, &err);
    if (st != TN_OK && st != TN_ERR_MEMORY)
        abort();
    st = tni_shape_infer(m, &err);
    if (st == TN_ERR_INTERNAL)
        abort();
    if (st == TN_OK && tni_ir_verify(m, &err) == TN_ERR_GRAPH)
        abort();
    tni_ir_module_destroy(&m);
    return 0;
}

/* ---- mutation ---- */

enum { MAX_FIELDS = 256, MAX_DEPTH = 12 };

typedef struct Fields {
    struct {
        size_t at, end, payload;
        bool bytes, varint;
    } f[MAX_FIELDS];
    uint32_t n;
} Fields;

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* false: these bytes are no message. */
static bool split_fields(const uint8_t *p, size_t n, Fields *out) {
    OnnxWire w = tni_onnx_wire((TnSpan){p, n, 0});
    out->n = 0;
    while (out->n < MAX_FIELDS) {
        OnnxField f;
        bool more = false;
        size_t at = w.pos;
        if (tni_onnx_wire_next(&w, &f, &more, NULL) != TN_OK)
            return false;
        if (!more)
            return out->n > 0;
        out->f[out->n].at = at;
        out->f[out->n].end = w.pos;
        out->f[out->n].bytes = f.type == ONNX_WIRE_BYTES;
        out->f[out->n].varint = f.type == ONNX_WIRE_VARINT;
        out->f[out->n].payload = f.type == ONNX_WIRE_BYTES ? w.pos - f.bytes.n : at;
        out->n++;
    }
    return true;
}

static size_t put_varint(uint8_t *out, uint64_t v) {
    size_t n = 0;
    for (; v > 0x7f; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

/* A copy of p[0, n) into out with one change; 0: no room. */
static size_t mutate(const uint8_t *p, size_t n, uint8_t *out, size_t cap, uint32_t depth, uint64_t *random) {
    static const uint64_t numbers[] = {0,  1,   2,   3,    6,     7,         8,          13,        17,         24,
                                       64, 127, 255, 4096, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 1};
    Fields *fields = malloc(sizeof *fields);
    size_t result = 0;
    if (fields == NULL)
        return 0;
    if (n > cap || !split_fields(p, n, fields)) {
        if (n <= cap) {
            memcpy(out, p, n);
            result = LLVMFuzzerMutate(out, n, cap);
        }
        free(fields);
        return result;
    }
    uint32_t i = next_random(random) % fields->n, k = next_random(random) % fields->n, what = next_random(random) % 10;
    size_t at = fields->f[i].at, end = fields->f[i].end, tail = n - end, used = 0;
    if (fields->f[i].bytes && depth < MAX_DEPTH && what < 7) { /* inside this field */
        size_t inner = end - fields->f[i].payload, room = cap > n + 16 ? cap - n - 16 + inner : 0;
        uint8_t *child = malloc(room + 1);
        size_t m = child == NULL || room < inner ? 0 : mutate(p + fields->f[i].payload, inner, child, room, depth + 1, random);
        uint8_t tag[10];
        size_t tag_n = 0;
        while (p[at + tag_n] >= 0x80)
            tag_n++;
        tag_n++;
        memcpy(tag, p + at, TN_MIN(tag_n, sizeof tag));
        if (m > 0 && tag_n <= 5 && at + tag_n + 10 + m + tail <= cap) {
            memcpy(out, p, at + tag_n);
            used = at + tag_n + put_varint(out + at + tag_n, m);
            memcpy(out + used, child, m);
            memcpy(out + used + m, p + end, tail);
            result = used + m + tail;
        }
        free(child);
    } else if (fields->f[i].varint && what < 8) { /* another number */
        size_t tag_n = 1;
        while (p[at + tag_n - 1] >= 0x80)
            tag_n++;
        if (n + 16 <= cap) {
            memcpy(out, p, at + tag_n);
            used = at + tag_n + put_varint(out + at + tag_n, numbers[next_random(random) % TN_COUNT(numbers)]);
            memcpy(out + used, p + end, tail);
            result = used + tail;
        }
    } else if (what < 9 && n + (fields->f[k].end - fields->f[k].at) <= cap) { /* field k again, before i */
        size_t m = fields->f[k].end - fields->f[k].at;
        memcpy(out, p, at);
        memcpy(out + at, p + fields->f[k].at, m);
        memcpy(out + at + m, p + at, n - at);
        result = n + m;
    } else { /* without field i */
        memcpy(out, p, at);
        memcpy(out + at, p + end, tail);
        result = at + tail;
    }
    free(fields);
    return result;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
    uint64_t random = seed;
    uint8_t *out = malloc(max + 1);
    size_t m = out == NULL || next_random(&random) % 20 == 0 ? 0 : mutate(data, n, out, max, 0, &random);
    if (m > 0 && m <= max)
        memcpy(data, out, m);
    else
        m = LLVMFuzzerMutate(data, n, max);
    free(out);
    return m;
}
