/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors in and out. In: anything with the buffer protocol (NumPy arrays and scalars, array.array, memoryview) or with __dlpack__ (PyTorch, JAX, CuPy),
 * taken as it lies when it is dense, native and aligned; everything else goes through tenon._arrays.convert, which copies or explains. */
#include "python/src/core.h"

#include <string.h>

/* The element type of a buffer in native byte order, TN_UNDEFINED when there is none. */
static TnDtype format_dtype(const char *format, Py_ssize_t size) {
    if (format == NULL)
        return size == 1 ? TN_U8 : TN_UNDEFINED;
    if (*format == '@' || *format == '=' || (*format == '<' && PY_LITTLE_ENDIAN) || (*format == '>' && PY_BIG_ENDIAN))
        format++;
    if (format[0] == 'Z' && (format[1] == 'f' || format[1] == 'd') && format[2] == '\0')
        return format[1] == 'f' ? TN_C64 : TN_C128;
    if (format[0] == '\0' || format[1] != '\0')
        return TN_UNDEFINED;
    switch (format[0]) {
    case '?': return TN_BOOL;
    case 'e': return TN_F16;
    case 'f': return TN_F32;
    case 'd': return TN_F64;
    case 'b': case 'h': case 'i': case 'l': case 'q':
        return size == 1 ? TN_I8 : size == 2 ? TN_I16 : size == 4 ? TN_I32 : size == 8 ? TN_I64 : TN_UNDEFINED;
    case 'B': case 'H': case 'I': case 'L': case 'Q':
        return size == 1 ? TN_U8 : size == 2 ? TN_U16 : size == 4 ? TN_U32 : size == 8 ? TN_U64 : TN_UNDEFINED;
    default: return TN_UNDEFINED;
    }
}

/* NumPy has no type of its own for these; arrays of unsigned integers carry them. */
static bool carried(TnDtype t) { return t == TN_BF16 || t == TN_F8E8M0 || (t >= TN_F8E4M3FN && t <= TN_F8E5M2FNUZ); }
static bool packed(TnDtype t) { return tn_dtype_bits(t) > 0 && tn_dtype_bits(t) < 8; }

/* The buffer as it lies; false (no exception) when it must be converted first. trusted: it comes from convert. */
static bool take_buffer(PyObject *o, const TnIoInfo *want, bool trusted, CoreTensor *out) {
    if (PyObject_GetBuffer(o, &out->view, PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
        PyErr_Clear();
        return false;
    }
    out->has_view = true;
    const Py_buffer *v = &out->view;
    TnDtype got = format_dtype(v->format, v->itemsize);
    if (want != NULL && trusted && carried(want->dtype) && (got == TN_U8 || got == TN_U16) && v->itemsize * 8 == (Py_ssize_t)tn_dtype_bits(want->dtype))
        got = want->dtype;
    size_t align = v->itemsize < 8 ? (size_t)v->itemsize : 8;
    bool ok = got != TN_UNDEFINED && (want == NULL || got == want->dtype) && v->ndim <= TN_MAX_RANK && PyBuffer_IsContiguous(v, 'C') &&
              (uintptr_t)v->buf % (align == 0 ? 1 : align) == 0;
    if (!ok) {
        PyBuffer_Release(&out->view);
        out->has_view = false;
        return false;
    }
    out->t.data = v->buf;
    out->t.dtype = got;
    out->t.rank = v->ndim;
    for (int i = 0; i < v->ndim; i++)
        out->t.dims[i] = v->shape[i];
    return true;
}

static int take_value(PyObject *o, const char *name, const TnIoInfo *want, CoreTensor *out) {
    const CoreValue *v = (CoreValue *)o;
    if (want != NULL && v->t.dtype != want->dtype) {
        core_fail(TN_ERR_TYPE, "input '%s' is %s, expected %s", name, tn_dtype_name(v->t.dtype), tn_dtype_name(want->dtype));
        return -1;
    }
    out->t = v->t;
    out->on_device = v->cuda;
    out->keep = Py_NewRef(o);
    return 0;
}

/* What tenon._arrays.convert makes of o. */
static int take_converted(PyObject *o, const char *name, const TnIoInfo *want, CoreTensor *out) {
    PyObject *shape = NULL, *a = PyObject_CallFunction(core.convert, "Osi", o, name, want == NULL ? 0 : (int)want->dtype);
    if (a == NULL)
        return -1;
    if (PyTuple_Check(a)) {
        PyObject *data = PyTuple_GetItem(a, 0);
        shape = Py_XNewRef(PyTuple_GetItem(a, 1));
        Py_XINCREF(data);
        Py_DECREF(a);
        a = data;
    }
    int status = -1;
    if (a != NULL && !PyErr_Occurred()) {
        TnIoInfo bytes = {.dtype = TN_U8};
        bool is_packed = want != NULL && packed(want->dtype);
        if (!take_buffer(a, is_packed ? &bytes : want, true, out))
            core_fail(TN_ERR_TYPE, "input '%s' could not be made a dense array", name);
        else
            status = shape == NULL ? 0 : core_dims_parse(shape, &out->t.rank, out->t.dims);
        if (status == 0 && is_packed)
            out->t.dtype = want->dtype;
    }
    out->keep = a;
    Py_XDECREF(shape);
    return status;
}

int core_tensor_take(PyObject *o, const char *name, const TnIoInfo *want, CoreTensor *out) {
    out->keep = NULL;
    out->has_view = out->on_device = false;
    if ((PyObject *)Py_TYPE(o) == core_value_type)
        return take_value(o, name, want, out);
    if (take_buffer(o, want, false, out))
        return 0;
    PyObject *value = NULL;
    if (!PyObject_CheckBuffer(o) && core_value_from_dlpack(o, &value)) {
        int status = value == NULL ? -1 : take_value(value, name, want, out);
        Py_XDECREF(value);
        return status;
    }
    return take_converted(o, name, want, out);
}

void core_tensor_release(CoreTensor *t) {
    if (t->has_view)
        PyBuffer_Release(&t->view);
    Py_CLEAR(t->keep);
    t->has_view = false;
}

/* ---- out ---- */

PyObject *core_shape(int32_t rank, const int64_t *dims) {
    PyObject *shape = PyTuple_New(rank);
    for (int32_t i = 0; shape != NULL && i < rank; i++) {
        PyObject *d = PyLong_FromLongLong(dims[i]);
        if (d == NULL)
            Py_CLEAR(shape);
        else
            PyTuple_SetItem(shape, i, d);
    }
    return shape;
}

int core_dims_parse(PyObject *o, int32_t *rank, int64_t *dims) {
    Py_ssize_t n = PySequence_Size(o);
    if (n < 0)
        return -1;
    if (n > TN_MAX_RANK) {
        core_fail(TN_ERR_SHAPE, "a shape has %zd dims; at most %d are possible", n, TN_MAX_RANK);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *d = PySequence_GetItem(o, i);
        dims[i] = d == NULL ? -1 : PyLong_AsLongLong(d);
        Py_XDECREF(d);
        if (PyErr_Occurred())
            return -1;
        if (dims[i] < 0) {
            core_fail(TN_ERR_SHAPE, "dim %zd of a shape is %lld; it must be 0 or more", i, (long long)dims[i]);
            return -1;
        }
    }
    *rank = (int32_t)n;
    return 0;
}

static PyObject *make_empty(PyObject *shape, PyObject *dtype, void **data) {
    PyObject *a = PyObject_CallFunctionObjArgs(core.empty, shape, dtype, NULL);
    Py_buffer view;
    if (a == NULL)
        return NULL;
    if (PyObject_GetBuffer(a, &view, PyBUF_WRITABLE) != 0) {
        Py_DECREF(a);
        return NULL;
    }
    *data = view.buf; /* an array does not move its memory while others hold it, and nobody else knows this one yet */
    PyBuffer_Release(&view);
    return a;
}

PyObject *core_array_new(TnDtype dtype, int32_t rank, const int64_t *dims, bool aligned, void **data) {
    PyObject *np = (uint32_t)dtype < CORE_DTYPES ? core.dtypes[dtype] : NULL;
    TnTensor t = {.dtype = dtype, .rank = rank};
    if (np == NULL)
        return core_fail(TN_ERR_TYPE, "there are no arrays of type %s", tn_dtype_name(dtype));
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    int64_t bytes = (int64_t)tn_tensor_bytes(&t), raw_bytes = bytes + 64;
    PyObject *shape = packed(dtype) ? core_shape(1, &bytes) : core_shape(rank, dims), *a;
    if (shape == NULL)
        return NULL;
    if (!aligned) {
        a = make_empty(shape, np, data);
        Py_DECREF(shape);
        return a;
    }
    PyObject *raw_shape = core_shape(1, &raw_bytes), *raw = raw_shape == NULL ? NULL : make_empty(raw_shape, core.dtypes[TN_U8], data);
    Py_XDECREF(raw_shape);
    a = NULL;
    if (raw != NULL) {
        int64_t offset = (int64_t)((64 - (uintptr_t)*data % 64) % 64);
        *data = (uint8_t *)*data + offset;
        a = PyObject_CallFunction(core.aligned, "OLLOO", raw, (long long)offset, (long long)bytes, np, shape);
    }
    Py_XDECREF(raw);
    Py_DECREF(shape);
    return a;
}

PyObject *core_array_finish(PyObject *a, TnDtype dtype, int32_t rank, const int64_t *dims) {
    PyObject *out = a;
    if (a == NULL || (core.view_as[dtype] == NULL && !packed(dtype)))
        return a;
    if (packed(dtype)) {
        PyObject *shape = core_shape(rank, dims);
        out = shape == NULL ? NULL : PyObject_CallFunction(core.unpack, "OiO", a, (int)dtype, shape);
        Py_XDECREF(shape);
    } else {
        out = PyObject_CallMethod(a, "view", "O", core.view_as[dtype]);
    }
    Py_DECREF(a);
    return out;
}

PyObject *core_array_copy(const TnTensor *t) {
    void *data;
    PyObject *a = core_array_new(t->dtype, t->rank, t->dims, false, &data);
    size_t bytes = a == NULL ? 0 : tn_tensor_bytes(t);
    if (bytes > 0)
        memcpy(data, t->data, bytes);
    return core_array_finish(a, t->dtype, t->rank, t->dims);
}
