/* SPDX-License-Identifier: Apache-2.0
 *
 * Python's pickle format, protocols 0 to 5, for plain data: None, bool, int, float, str, bytes, tuple, list, dict, set, and NumPy arrays and scalars.
 * Nothing can be called: the only globals are those by which NumPy rebuilds arrays, each is a constant here with one meaning in C; every other one is
 * refused by name. Work is linear in the bytes of the pickle, memory at most 256 times as large. */
#ifndef TENON_PIPELINES_PICKLE_H
#define TENON_PIPELINES_PICKLE_H

#include <stdbool.h>

#include "tenon/tensor.h"

typedef enum TnpKind {
    TNP_NONE, TNP_BOOL, TNP_INT, TNP_FLOAT, TNP_TEXT, TNP_BYTES, TNP_TUPLE, TNP_LIST, TNP_DICT, TNP_SET, TNP_ARRAY,
    TNP_GLOBAL, TNP_DTYPE /* parts of arrays; seldom in a result */
} TnpKind;

typedef struct TnpValue TnpValue;

/* NumPy's array. data: elements as stored, unaligned, of the other byte order when `swapped`, column-major when `fortran`. Of objects (type
 * TN_UNDEFINED, objects true) `list` has the elements. */
typedef struct TnpArray {
    TnTensor shape; /* dtype, rank, dims; data NULL */
    const uint8_t *data;
    const TnpValue *list;
    bool swapped, fortran, objects;
} TnpArray;

struct TnpValue {
    TnpKind kind;
    uint32_t n, cap; /* TUPLE, LIST, SET: items; DICT: 2 a pair, key then value; TEXT, BYTES: bytes (no NUL behind them) */
    union {
        TnpValue **items;
        const char *text;
        int64_t i; /* BOOL, INT (beyond 64 bits: saturated); GLOBAL: private */
        double f;
        TnpArray *array; /* ARRAY; DTYPE uses it too */
    } u;
};

typedef struct TnpPickle {
    const TnpValue *root;
    void *blocks; /* what the values live in */
    size_t bytes, limit;
} TnpPickle;

/* The value of a pickle of n bytes, which must outlive *out; name is for messages. Containers may contain themselves: never walk them without a
 * limit. Errors: PARSE (with the byte), UNSUPPORTED (names the global or operation), LIMIT, MEMORY. */
TnStatus tnp_pickle_read(const void *data, size_t n, const char *name, TnpPickle *out, TnError *err);
void tnp_pickle_free(TnpPickle *p); /* safe on a zeroed struct */

/* Value of a text key, NULL when v is no dict or lacks it. */
const TnpValue *tnp_pickle_get(const TnpValue *v, const char *key);
bool tnp_pickle_is_text(const TnpValue *v, const char *text);
/* INT, whole FLOAT, or digits as text. */
bool tnp_pickle_int(const TnpValue *v, int64_t *out);
/* INT, FLOAT or number as text. */
bool tnp_pickle_number(const TnpValue *v, double *out);
/* All elements of a numeric array as float32, row-major; out has room for tn_tensor_numel(&a->shape). false: not numeric. */
bool tnp_array_floats(const TnpArray *a, float *out);

/* For pickle.c and pickle_numpy.c. */
typedef struct TnpMachine TnpMachine;
void *tnp_pickle_alloc(TnpPickle *p, size_t bytes); /* zeroed, 16-byte aligned; NULL: no memory, or over the limit */
/* Which global; -1: none that is known. */
int tnp_numpy_global(const char *module, size_t n_module, const char *name, size_t n_name);
/* global(args...) -> *out. false: not with these arguments. */
bool tnp_numpy_call(TnpPickle *p, int64_t global, const TnpValue *args, TnpValue **out);
/* object.__setstate__(state). */
bool tnp_numpy_build(TnpPickle *p, TnpValue *object, const TnpValue *state);

#endif
