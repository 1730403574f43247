/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon._core: the C API as Python objects. Stable ABI of Python 3.11 (one binary for 3.11 and later), no NumPy headers: arrays come in through the
 * buffer protocol or DLPack and go out as arrays that numpy.empty made.
 *
 * Rules of this folder: every function that can fail returns NULL or -1 with a Python exception set. Fields of objects change only with the GIL held; the
 * GIL is released around every call of the library that can take long. */
#ifndef TENON_PYTHON_CORE_H
#define TENON_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdlib.h>

#include "tenon/build.h"
#include "tenon/runtime.h"

#define CORE_DTYPES 27

/* What tenon/_arrays.py and tenon/errors.py hand over when the package is imported. Borrowed from nobody: references are held for ever. */
typedef struct CoreHooks {
    PyObject *empty;                /* numpy.empty */
    PyObject *dtypes[CORE_DTYPES];  /* NumPy's type of each TnDtype; the unsigned integer that carries it where NumPy has none; NULL: no arrays of it */
    PyObject *view_as[CORE_DTYPES]; /* real type of a carried one, or NULL */
    PyObject *make_error;           /* (code, name, message, node, offset or None, file or None) -> exception */
    PyObject *convert;              /* (object, input name, dtype number or 0) -> array, or (array, shape) for packed types; raises */
    PyObject *aligned;              /* (raw uint8 array, offset, bytes, dtype, shape) -> array in it */
    PyObject *unpack;               /* (uint8 array, dtype number, shape) -> array: types narrower than a byte */
} CoreHooks;
extern CoreHooks core;
/* Grows when the process forks: what belongs to threads of an older generation is gone. */
extern unsigned core_generation;

/* ---- error.c ---- */
/* Sets the exception of err; returns NULL. file may be NULL. */
PyObject *core_raise(const TnError *err, const char *file);
/* An exception of tenon.errors made here. */
PyObject *core_fail(TnStatus code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- tensor.c ---- */
/* A tensor that was given: a view of the caller's memory (or of a copy where that is not dense, native and aligned). */
typedef struct CoreTensor {
    TnTensor t;
    Py_buffer view;
    PyObject *keep;
    bool has_view, on_device;
} CoreTensor;
/* want: the declaration, NULL when any type is taken. name is for messages. out needs no preparation; release it also after failures. */
int core_tensor_take(PyObject *o, const char *name, const TnIoInfo *want, CoreTensor *out);
void core_tensor_release(CoreTensor *t);
/* A new array of these dims; *data is its memory, valid as long as the array. aligned: at a multiple of 64 bytes. */
PyObject *core_array_new(TnDtype dtype, int32_t rank, const int64_t *dims, bool aligned, void **data);
/* A new array with the contents of t (host memory). */
PyObject *core_array_copy(const TnTensor *t);
/* Carried and packed types to what the caller sees; takes the reference a. */
PyObject *core_array_finish(PyObject *a, TnDtype dtype, int32_t rank, const int64_t *dims);
PyObject *core_shape(int32_t rank, const int64_t *dims);
/* Dims from a sequence of numbers; -1 with an exception. */
int core_dims_parse(PyObject *o, int32_t *rank, int64_t *dims);

/* ---- types ---- */
typedef struct CorePlan {
    PyObject_HEAD
    TnPlan *plan;
    Py_buffer memory; /* of a plan opened from memory */
    bool has_memory;
    uint32_t n_in, n_out;
    TnIoInfo *in, *out;   /* [n_in], [n_out] */
    PyObject **in_names;  /* [n_in] interned */
    PyObject **out_names; /* [n_out] */
    bool on_device;
    unsigned generation;
} CorePlan;
extern PyObject *core_plan_type;

typedef enum CoreHold { CORE_HOLD_BUFFER, CORE_HOLD_DLPACK, CORE_HOLD_DEVICE, CORE_HOLD_BORROWED } CoreHold;

/* A tensor with an owner: what OrtValue wraps. */
typedef struct CoreValue {
    PyObject_HEAD
    TnTensor t;
    CoreHold hold;
    Py_buffer view;
    void *managed;   /* DLManagedTensor */
    PyObject *owner; /* the plan of device memory, the context of a borrowed tensor */
    bool cuda, readonly;
    int32_t device_id;
} CoreValue;
extern PyObject *core_value_type;
PyObject *core_value_borrow(const TnTensor *t, bool cuda, int32_t device_id, PyObject *owner);
/* 1: o has __dlpack__; *out is then a new CoreValue or NULL with an exception. 0: it has not. */
int core_value_from_dlpack(PyObject *o, PyObject **out);

/* One context and the shapes that it saw last. */
typedef struct Slot {
    struct Slot *next;
    TnContext *ctx;
    unsigned generation;
    bool seen;
    TnTensor *in, *out; /* [n_in], [n_out]: of the last run; dims only */
} Slot;
Slot *core_slot_new(CorePlan *plan, uint32_t threads);
void core_slot_free(Slot *slot);

/* ---- what the module's table lists ---- */
int core_add_plan(PyObject *module);
int core_add_value(PyObject *module);
int core_add_session(PyObject *module);
int core_add_context(PyObject *module);
int core_add_reference(PyObject *module);
int core_add_pictures(PyObject *module);
int core_add_ocr(PyObject *module);
int core_add_classify(PyObject *module);
int core_add_detect(PyObject *module);
int core_add_doc(PyObject *module);
int core_add_ground(PyObject *module);
extern PyMethodDef core_build_methods[];
PyObject *core_generate(TnContext *ctx, CorePlan *plan, PyObject *args, PyObject *kwargs);

/* Text that a library function writes piece by piece. */
typedef struct CoreText {
    char *data;
    size_t n, cap;
    bool failed;
} CoreText;
void core_text_add(void *text, const char *s, size_t n);
PyObject *core_text_take(CoreText *text); /* frees it */
PyObject *core_add_type(PyObject *module, const char *name, PyType_Spec *spec);

#endif
