/* SPDX-License-Identifier: Apache-2.0
 *
 * Value: a dense tensor with an owner, on the host or on a GPU. Shares memory with arrays (buffer protocol) and with other libraries (DLPack, both ways). */
#include "python/src/core.h"

#include <string.h>

PyObject *core_value_type;

/* ---- DLPack 1.0, https://dmlc.github.io/dlpack: the layout is the contract ---- */
enum { DL_CPU = 1, DL_CUDA = 2, DL_CUDA_HOST = 3, DL_CUDA_MANAGED = 13 };
enum { DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_COMPLEX = 5, DL_BOOL = 6 };
typedef struct DlTensor {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DlTensor;
typedef struct DlManaged {
    DlTensor t;
    void *context;
    void (*deleter)(struct DlManaged *self);
} DlManaged;

static const struct {
    TnDtype dtype;
    uint8_t code, bits;
} dl_types[] = {
    {TN_F32, DL_FLOAT, 32}, {TN_F64, DL_FLOAT, 64},   {TN_F16, DL_FLOAT, 16},     {TN_BF16, DL_BFLOAT, 16},    {TN_I8, DL_INT, 8},
    {TN_I16, DL_INT, 16},   {TN_I32, DL_INT, 32},     {TN_I64, DL_INT, 64},       {TN_U8, DL_UINT, 8},         {TN_U16, DL_UINT, 16},
    {TN_U32, DL_UINT, 32},  {TN_U64, DL_UINT, 64},    {TN_BOOL, DL_BOOL, 8},      {TN_C64, DL_COMPLEX, 64},    {TN_C128, DL_COMPLEX, 128},
};
#define N_DL_TYPES (sizeof dl_types / sizeof *dl_types)

static CoreValue *value_new(void) {
    allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)core_value_type, Py_tp_alloc);
    return (CoreValue *)alloc((PyTypeObject *)core_value_type, 0);
}

static void value_dealloc(PyObject *o) {
    CoreValue *v = (CoreValue *)o;
    PyTypeObject *type = Py_TYPE(o);
    if (v->hold == CORE_HOLD_BUFFER && v->view.obj != NULL)
        PyBuffer_Release(&v->view);
    if (v->hold == CORE_HOLD_DLPACK && v->managed != NULL) {
        DlManaged *m = v->managed;
        if (m->deleter != NULL)
            m->deleter(m);
    }
    if (v->hold == CORE_HOLD_DEVICE && v->owner != NULL && ((CorePlan *)v->owner)->generation == core_generation)
        tn_device_free(((CorePlan *)v->owner)->plan, v->t.data);
    Py_CLEAR(v->owner);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

PyObject *core_value_borrow(const TnTensor *t, bool cuda, int32_t device_id, PyObject *owner) {
    CoreValue *v = value_new();
    if (v == NULL)
        return NULL;
    v->t = *t;
    v->hold = CORE_HOLD_BORROWED;
    v->cuda = cuda;
    v->device_id = device_id;
    v->owner = Py_NewRef(owner);
    return (PyObject *)v;
}

static bool dense(const DlTensor *d) {
    int64_t expected = 1;
    for (int32_t i = d->ndim - 1; d->strides != NULL && i >= 0; i--) {
        if (d->shape[i] != 1 && d->strides[i] != expected)
            return false;
        expected *= d->shape[i];
    }
    return true;
}

static PyObject *from_capsule(PyObject *capsule) {
    DlManaged *m = PyCapsule_GetPointer(capsule, "dltensor");
    if (m == NULL)
        return NULL;
    const DlTensor *d = &m->t;
    TnTensor t = {.data = (uint8_t *)d->data + d->byte_offset, .rank = d->ndim};
    for (size_t i = 0; i < N_DL_TYPES; i++)
        if (dl_types[i].code == d->code && dl_types[i].bits == d->bits && d->lanes == 1)
            t.dtype = dl_types[i].dtype;
    bool cuda = d->device_type == DL_CUDA || d->device_type == DL_CUDA_MANAGED;
    if (t.dtype == TN_UNDEFINED)
        return core_fail(TN_ERR_TYPE, "a DLPack tensor has type code %d with %d bits, which Tenon does not have", d->code, d->bits);
    if (d->ndim < 0 || d->ndim > TN_MAX_RANK)
        return core_fail(TN_ERR_SHAPE, "a DLPack tensor has rank %d; 0 to %d are possible", d->ndim, TN_MAX_RANK);
    if (!cuda && d->device_type != DL_CPU && d->device_type != DL_CUDA_HOST)
        return core_fail(TN_ERR_ARGUMENT, "a DLPack tensor lies on device type %d; the host (1) and CUDA (2) are possible", d->device_type);
    if (!dense(d))
        return core_fail(TN_ERR_ARGUMENT, "a DLPack tensor is not dense; make it contiguous first (tensor.contiguous())");
    if (d->ndim > 0)
        memcpy(t.dims, d->shape, (size_t)d->ndim * sizeof *t.dims);
    CoreValue *v = value_new();
    if (v == NULL)
        return NULL;
    v->t = t;
    v->hold = CORE_HOLD_DLPACK;
    v->managed = m;
    v->cuda = cuda;
    v->device_id = d->device_id;
    v->readonly = true; /* whether it may be written is not known */
    PyCapsule_SetName(capsule, "used_dltensor");
    return (PyObject *)v;
}

int core_value_from_dlpack(PyObject *o, PyObject **out) {
    *out = NULL;
    PyObject *f = PyObject_GetAttrString(o, "__dlpack__");
    if (f == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *capsule = PyObject_CallNoArgs(f);
    Py_DECREF(f);
    if (capsule != NULL)
        *out = from_capsule(capsule);
    Py_XDECREF(capsule);
    return 1;
}

/* ---- export ---- */

typedef struct Exported {
    DlManaged m;
    PyObject *value;
    int64_t shape[TN_MAX_RANK], strides[TN_MAX_RANK];
} Exported;

static void exported_delete(DlManaged *m) {
    Exported *e = m->context;
    PyGILState_STATE g = PyGILState_Ensure();
    Py_DECREF(e->value);
    PyGILState_Release(g);
    free(e);
}

static void capsule_delete(PyObject *capsule) {
    if (!PyCapsule_IsValid(capsule, "dltensor"))
        return; /* consumed: the consumer deletes */
    DlManaged *m = PyCapsule_GetPointer(capsule, "dltensor");
    m->deleter(m);
}

static PyObject *value_dlpack(PyObject *o, PyObject *args, PyObject *kwargs) {
    CoreValue *v = (CoreValue *)o;
    (void)args, (void)kwargs; /* stream: all work on the memory is over; max_version: an unversioned capsule is always allowed */
    for (size_t i = 0; i < N_DL_TYPES; i++) {
        if (dl_types[i].dtype != v->t.dtype)
            continue;
        Exported *e = calloc(1, sizeof *e);
        if (e == NULL)
            return PyErr_NoMemory();
        int64_t stride = 1;
        for (int32_t k = v->t.rank - 1; k >= 0; k--) {
            e->shape[k] = v->t.dims[k];
            e->strides[k] = stride;
            stride *= v->t.dims[k];
        }
        e->m.t = (DlTensor){.data = v->t.data, .device_type = v->cuda ? DL_CUDA : DL_CPU, .device_id = v->device_id, .ndim = v->t.rank,
                            .code = dl_types[i].code, .bits = dl_types[i].bits, .lanes = 1, .shape = e->shape, .strides = e->strides};
        e->m.context = e;
        e->m.deleter = exported_delete;
        e->value = Py_NewRef(o);
        PyObject *capsule = PyCapsule_New(&e->m, "dltensor", capsule_delete);
        if (capsule == NULL)
            exported_delete(&e->m);
        return capsule;
    }
    return core_fail(TN_ERR_TYPE, "DLPack has no type for %s", tn_dtype_name(v->t.dtype));
}

static PyObject *value_dlpack_device(PyObject *o, PyObject *unused) {
    (void)unused;
    return Py_BuildValue("ii", ((CoreValue *)o)->cuda ? DL_CUDA : DL_CPU, ((CoreValue *)o)->device_id);
}

/* ---- buffer protocol ---- */

static const char *format_of(TnDtype t) {
    switch (t) {
    case TN_F32: return "f";
    case TN_F64: return "d";
    case TN_F16: return "e";
    case TN_I8: return "b";
    case TN_I16: return "h";
    case TN_I32: return "i";
    case TN_I64: return "q";
    case TN_U8: return "B";
    case TN_U16: case TN_BF16: return "H";
    case TN_U32: return "I";
    case TN_U64: return "Q";
    case TN_BOOL: return "?";
    case TN_C64: return "Zf";
    case TN_C128: return "Zd";
    default: return "B";
    }
}

static int value_getbuffer(PyObject *o, Py_buffer *view, int flags) {
    CoreValue *v = (CoreValue *)o;
    view->obj = NULL;
    if (v->cuda || tn_dtype_bits(v->t.dtype) < 8) {
        PyErr_SetString(PyExc_BufferError, v->cuda ? "the tensor lies on a GPU; copy it with numpy()" : "elements narrower than a byte have no buffer");
        return -1;
    }
    if (v->readonly && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "the tensor belongs to another library and is read only here");
        return -1;
    }
    Py_ssize_t item = (Py_ssize_t)tn_dtype_bits(v->t.dtype) / 8, stride = item, *sizes = calloc(2 * TN_MAX_RANK, sizeof *sizes);
    if (sizes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int32_t i = v->t.rank - 1; i >= 0; i--) {
        sizes[i] = (Py_ssize_t)v->t.dims[i];
        sizes[TN_MAX_RANK + i] = stride;
        stride *= sizes[i];
    }
    *view = (Py_buffer){.buf = v->t.data, .obj = Py_NewRef(o), .len = (Py_ssize_t)tn_tensor_bytes(&v->t), .itemsize = item, .readonly = v->readonly,
                        .ndim = v->t.rank, .format = (flags & PyBUF_FORMAT) ? (char *)(uintptr_t)format_of(v->t.dtype) : NULL,
                        .shape = (flags & PyBUF_ND) ? sizes : NULL,
                        .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? sizes + TN_MAX_RANK : NULL, .internal = sizes};
    return 0;
}

static void value_releasebuffer(PyObject *o, Py_buffer *view) {
    (void)o;
    free(view->internal);
}

/* ---- makers and properties ---- */

/* from_buffer(array, dtype number or 0): shares the array's memory. */
static PyObject *value_from_buffer(PyObject *cls, PyObject *args) {
    PyObject *o;
    int dtype;
    (void)cls;
    if (!PyArg_ParseTuple(args, "Oi", &o, &dtype))
        return NULL;
    CoreTensor t;
    TnIoInfo want = {.dtype = (TnDtype)dtype};
    if (core_tensor_take(o, "value", dtype == 0 ? NULL : &want, &t) != 0) {
        core_tensor_release(&t);
        return NULL;
    }
    if (!t.has_view) {
        PyObject *value = t.keep != NULL ? Py_NewRef(t.keep) : NULL; /* a Value, from DLPack */
        core_tensor_release(&t);
        return value;
    }
    CoreValue *v = value_new();
    if (v != NULL) {
        v->t = t.t;
        v->hold = CORE_HOLD_BUFFER;
        v->readonly = t.view.readonly;
        v->view = t.view; /* moves; its shape is not read again */
        v->view.shape = v->view.strides = NULL;
        t.has_view = false;
    }
    core_tensor_release(&t);
    return (PyObject *)v;
}

static PyObject *value_from_any_dlpack(PyObject *cls, PyObject *o) {
    PyObject *v;
    (void)cls;
    if (!core_value_from_dlpack(o, &v))
        return PyErr_Format(PyExc_TypeError, "an object of type %R has no __dlpack__", (PyObject *)Py_TYPE(o));
    return v;
}

/* device(plan, dtype number, shape): memory of the plan's GPU. */
static PyObject *value_device(PyObject *cls, PyObject *args) {
    PyObject *plan, *shape;
    int dtype;
    (void)cls;
    if (!PyArg_ParseTuple(args, "O!iO", core_plan_type, &plan, &dtype, &shape))
        return NULL;
    TnTensor t = {.dtype = (TnDtype)dtype};
    if (core_dims_parse(shape, &t.rank, t.dims) != 0)
        return NULL;
    size_t bytes = tn_tensor_bytes(&t);
    TnDeviceDescription d;
    TnError err = {0};
    if (tn_plan_device(((CorePlan *)plan)->plan, &d, &err) != TN_OK ||
        tn_device_alloc(((CorePlan *)plan)->plan, bytes == 0 ? 1 : bytes, &t.data, &err) != TN_OK)
        return core_raise(&err, NULL);
    CoreValue *v = value_new();
    if (v == NULL) {
        tn_device_free(((CorePlan *)plan)->plan, t.data);
        return NULL;
    }
    v->t = t;
    v->hold = CORE_HOLD_DEVICE;
    v->cuda = true;
    v->device_id = (int32_t)d.index;
    v->owner = Py_NewRef(plan);
    return (PyObject *)v;
}

/* from_pointer(address, dtype number, shape, cuda, device id): memory that the caller keeps alive. */
static PyObject *value_from_pointer(PyObject *cls, PyObject *args) {
    PyObject *address, *shape;
    int dtype, cuda, device_id;
    (void)cls;
    if (!PyArg_ParseTuple(args, "OiOpi", &address, &dtype, &shape, &cuda, &device_id))
        return NULL;
    TnTensor t = {.data = PyLong_AsVoidPtr(address), .dtype = (TnDtype)dtype};
    if (PyErr_Occurred() || core_dims_parse(shape, &t.rank, t.dims) != 0)
        return NULL;
    return core_value_borrow(&t, cuda, device_id, Py_None);
}

static PyObject *value_shape(PyObject *o, void *unused) {
    (void)unused;
    return core_shape(((CoreValue *)o)->t.rank, ((CoreValue *)o)->t.dims);
}
static PyObject *value_dtype(PyObject *o, void *unused) {
    (void)unused;
    return PyLong_FromLong((long)((CoreValue *)o)->t.dtype);
}
static PyObject *value_cuda(PyObject *o, void *unused) {
    (void)unused;
    return PyBool_FromLong(((CoreValue *)o)->cuda);
}
static PyObject *value_device_id(PyObject *o, void *unused) {
    (void)unused;
    return PyLong_FromLong(((CoreValue *)o)->device_id);
}
static PyObject *value_data_ptr(PyObject *o, void *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(((CoreValue *)o)->t.data);
}
static PyObject *value_nbytes(PyObject *o, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(tn_tensor_bytes(&((CoreValue *)o)->t));
}

static PyMethodDef value_methods[] = {
    {"from_buffer", (PyCFunction)value_from_buffer, METH_VARARGS | METH_STATIC, "from_buffer(array, dtype=0) -> Value that shares the array's memory"},
    {"from_dlpack", (PyCFunction)value_from_any_dlpack, METH_O | METH_STATIC, "from_dlpack(tensor) -> Value that shares the tensor's memory"},
    {"device", (PyCFunction)value_device, METH_VARARGS | METH_STATIC, "device(plan, dtype, shape) -> Value in memory of the plan's GPU"},
    {"from_pointer", (PyCFunction)value_from_pointer, METH_VARARGS | METH_STATIC, "from_pointer(address, dtype, shape, cuda, device_id) -> Value"},
    {"__dlpack__", (PyCFunction)(void (*)(void))value_dlpack, METH_VARARGS | METH_KEYWORDS, "DLPack capsule"},
    {"__dlpack_device__", (PyCFunction)value_dlpack_device, METH_NOARGS, "(device type, device id) of DLPack"},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef value_getset[] = {
    {"shape", value_shape, NULL, "dims", NULL},         {"dtype", value_dtype, NULL, "ONNX number of the element type", NULL},
    {"cuda", value_cuda, NULL, "lies on a GPU", NULL},  {"device_id", value_device_id, NULL, "index of the GPU", NULL},
    {"data_ptr", value_data_ptr, NULL, "address", NULL}, {"nbytes", value_nbytes, NULL, "bytes of the data", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot value_slots[] = {
    {Py_tp_dealloc, (void *)value_dealloc},
    {Py_tp_methods, value_methods},
    {Py_tp_getset, value_getset},
    {Py_bf_getbuffer, (void *)value_getbuffer},
    {Py_bf_releasebuffer, (void *)value_releasebuffer},
    {Py_tp_doc, "A dense tensor with an owner, on the host or on a GPU."},
    {0, NULL},
};
static PyType_Spec value_spec = {"tenon._core.Value", sizeof(CoreValue), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, value_slots};

int core_add_value(PyObject *module) {
    core_value_type = core_add_type(module, "Value", &value_spec);
    return core_value_type == NULL ? -1 : 0;
}
