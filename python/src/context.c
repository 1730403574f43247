/* SPDX-License-Identifier: Apache-2.0
 *
 * Context: one context of a plan with tensors bound to it, for one thread at a time: what IOBinding stands on. Bound tensors are held until they are replaced. */
#include "python/src/core.h"

#include <string.h>

typedef struct Context {
    PyObject_HEAD
    CorePlan *plan;
    Slot *slot;
    CoreTensor *in;   /* [n_in] */
    PyObject **out;   /* [n_out]: Values that outputs are written to, or NULL */
    bool *bound, busy; /* bound: [n_in] */
} Context;

static int enter(Context *c) {
    if (!c->busy && c->slot->generation == core_generation)
        return 0;
    core_fail(TN_ERR_STATE, c->busy ? "this binding is running in another thread; give each thread a binding of its own"
                                    : "this process was forked after the binding was made; make it in the child");
    return -1;
}

static PyObject *context_bind_input(PyObject *o, PyObject *args) {
    Context *c = (Context *)o;
    PyObject *tensor;
    unsigned i;
    CoreTensor t;
    TnError err = {0};
    if (!PyArg_ParseTuple(args, "IO", &i, &tensor) || enter(c) != 0)
        return NULL;
    if (i >= c->plan->n_in)
        return core_fail(TN_ERR_ARGUMENT, "input %u of %u", i, c->plan->n_in);
    int status = core_tensor_take(tensor, c->plan->in[i].name, &c->plan->in[i], &t);
    if (status == 0 && (t.on_device ? tn_context_bind_input_device(c->slot->ctx, i, &t.t, &err) : tn_context_set_input(c->slot->ctx, i, &t.t, &err)) != TN_OK) {
        core_raise(&err, NULL);
        status = -1;
    }
    if (status != 0) {
        core_tensor_release(&t);
        return NULL;
    }
    if (c->bound[i])
        core_tensor_release(&c->in[i]);
    c->in[i] = t;
    c->bound[i] = true;
    return Py_NewRef(Py_None);
}

/* bind_output(i, Value or None, on_device): None: into the context's own memory, on the GPU when on_device. */
static PyObject *context_bind_output(PyObject *o, PyObject *args) {
    Context *c = (Context *)o;
    PyObject *value;
    unsigned i;
    int on_device;
    TnError err = {0};
    if (!PyArg_ParseTuple(args, "IOp", &i, &value, &on_device) || enter(c) != 0)
        return NULL;
    if (i >= c->plan->n_out)
        return core_fail(TN_ERR_ARGUMENT, "output %u of %u", i, c->plan->n_out);
    const CoreValue *v = value == Py_None ? NULL : (CoreValue *)value;
    if (v != NULL && (PyObject *)Py_TYPE(value) != core_value_type)
        return PyErr_Format(PyExc_TypeError, "outputs are bound to Values, not to %R", (PyObject *)Py_TYPE(value));
    if (v != NULL && v->readonly)
        return core_fail(TN_ERR_ARGUMENT, "output '%s' is bound to memory that is read only", c->plan->out[i].name);
    size_t bytes = v == NULL ? 0 : tn_tensor_bytes(&v->t);
    bool there = v == NULL ? on_device : v->cuda;
    TnStatus st = there ? tn_context_bind_output_device(c->slot->ctx, i, v == NULL ? NULL : &v->t, bytes, &err)
                        : tn_context_set_output(c->slot->ctx, i, v == NULL ? NULL : &v->t, bytes, &err);
    if (st != TN_OK)
        return core_raise(&err, NULL);
    Py_XDECREF(c->out[i]);
    c->out[i] = v == NULL ? NULL : Py_NewRef(value);
    return Py_NewRef(Py_None);
}

static PyObject *run_with(Context *c, TnStatus (*run)(TnContext *, TnError *)) {
    TnError err = {0};
    TnStatus st;
    if (enter(c) != 0)
        return NULL;
    c->busy = true;
    Py_BEGIN_ALLOW_THREADS
    st = run(c->slot->ctx, &err);
    Py_END_ALLOW_THREADS
    c->busy = false;
    return st == TN_OK ? Py_NewRef(Py_None) : core_raise(&err, NULL);
}

static PyObject *context_run(PyObject *o, PyObject *unused) {
    (void)unused;
    return run_with((Context *)o, tn_context_run);
}
static PyObject *context_run_async(PyObject *o, PyObject *unused) {
    (void)unused;
    return run_with((Context *)o, tn_context_run_async);
}
static PyObject *context_synchronize(PyObject *o, PyObject *unused) {
    (void)unused;
    return run_with((Context *)o, tn_context_synchronize);
}
static PyObject *context_warm(PyObject *o, PyObject *unused) {
    (void)unused;
    return run_with((Context *)o, tn_context_warm);
}

/* value(i) -> Value: output i of the last run, in the memory where it lies: the Value that is bound (when it has the dims), else the context's own. */
static PyObject *context_value(PyObject *o, PyObject *args) {
    Context *c = (Context *)o;
    unsigned i;
    TnTensor t;
    TnError err = {0};
    if (!PyArg_ParseTuple(args, "I", &i) || enter(c) != 0)
        return NULL;
    if (tn_context_output(c->slot->ctx, i, &t, &err) != TN_OK)
        return core_raise(&err, NULL);
    CoreValue *bound = (CoreValue *)c->out[i];
    if (bound != NULL && bound->t.rank == t.rank && memcmp(bound->t.dims, t.dims, (size_t)t.rank * sizeof *t.dims) == 0)
        return Py_NewRef(c->out[i]);
    if (bound != NULL) {
        t.data = bound->t.data;
        return core_value_borrow(&t, bound->cuda, bound->device_id, (PyObject *)bound);
    }
    bool there = tn_context_output_on_device(c->slot->ctx, i);
    TnDeviceDescription d = {0};
    if (there && tn_plan_device(c->plan->plan, &d, &err) != TN_OK)
        return core_raise(&err, NULL);
    return core_value_borrow(&t, there, (int32_t)d.index, o);
}

/* read(Value on the GPU) -> array */
static PyObject *context_read(PyObject *o, PyObject *arg) {
    Context *c = (Context *)o;
    TnError err = {0};
    void *data;
    if ((PyObject *)Py_TYPE(arg) != core_value_type)
        return PyErr_Format(PyExc_TypeError, "read takes a Value");
    const CoreValue *v = (CoreValue *)arg;
    if (!v->cuda)
        return core_array_copy(&v->t);
    if (enter(c) != 0)
        return NULL;
    PyObject *a = core_array_new(v->t.dtype, v->t.rank, v->t.dims, false, &data);
    size_t bytes = a == NULL ? 0 : tn_tensor_bytes(&v->t);
    TnStatus st = TN_OK;
    c->busy = true;
    Py_BEGIN_ALLOW_THREADS
    if (bytes > 0)
        st = tn_device_read(c->slot->ctx, data, v->t.data, bytes, &err);
    Py_END_ALLOW_THREADS
    c->busy = false;
    if (st != TN_OK) {
        Py_DECREF(a);
        return core_raise(&err, NULL);
    }
    return core_array_finish(a, v->t.dtype, v->t.rank, v->t.dims);
}

/* write(Value on the GPU, tensor): copies the tensor's bytes there. */
static PyObject *context_write(PyObject *o, PyObject *args) {
    Context *c = (Context *)o;
    PyObject *value, *tensor;
    CoreTensor t;
    TnError err = {0};
    if (!PyArg_ParseTuple(args, "O!O", (PyTypeObject *)core_value_type, &value, &tensor) || enter(c) != 0)
        return NULL;
    const CoreValue *v = (CoreValue *)value;
    TnIoInfo want = {.dtype = v->t.dtype};
    TnStatus st = TN_OK;
    int status = core_tensor_take(tensor, "value", &want, &t);
    if (status == 0 && (t.on_device || tn_tensor_bytes(&t.t) != tn_tensor_bytes(&v->t))) {
        core_fail(TN_ERR_SHAPE, "%zu bytes on the host were expected, %zu%s were given", tn_tensor_bytes(&v->t), tn_tensor_bytes(&t.t), t.on_device ? " on a GPU" : "");
        status = -1;
    }
    if (status == 0 && tn_tensor_bytes(&t.t) > 0) {
        c->busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_device_write(c->slot->ctx, v->t.data, t.t.data, tn_tensor_bytes(&t.t), &err);
        Py_END_ALLOW_THREADS
        c->busy = false;
    }
    core_tensor_release(&t);
    if (st != TN_OK)
        return core_raise(&err, NULL);
    return status == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *context_bytes(PyObject *o, PyObject *unused) {
    const Context *c = (Context *)o;
    (void)unused;
    return Py_BuildValue("nn", (Py_ssize_t)tn_context_bytes(c->slot->ctx), (Py_ssize_t)tn_context_device_bytes(c->slot->ctx));
}

static void context_dealloc(PyObject *o) {
    Context *c = (Context *)o;
    PyTypeObject *type = Py_TYPE(o);
    core_slot_free(c->slot);
    for (uint32_t i = 0; c->in != NULL && c->bound != NULL && i < c->plan->n_in; i++)
        if (c->bound[i])
            core_tensor_release(&c->in[i]);
    for (uint32_t i = 0; c->out != NULL && i < c->plan->n_out; i++)
        Py_XDECREF(c->out[i]);
    free(c->in);
    free(c->out);
    free(c->bound);
    Py_CLEAR(c->plan);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "threads", NULL};
    PyObject *plan;
    unsigned threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|I", names, core_plan_type, &plan, &threads))
        return NULL;
    Context *c = (Context *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (c == NULL)
        return NULL;
    c->plan = (CorePlan *)Py_NewRef(plan);
    c->in = calloc(c->plan->n_in + 1u, sizeof *c->in);
    c->bound = calloc(c->plan->n_in + 1u, sizeof *c->bound);
    c->out = calloc(c->plan->n_out + 1u, sizeof *c->out);
    c->slot = c->in == NULL || c->bound == NULL || c->out == NULL ? NULL : core_slot_new(c->plan, threads);
    if (c->slot == NULL) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        Py_CLEAR(c);
    }
    return (PyObject *)c;
}

static PyMethodDef context_methods[] = {
    {"bind_input", context_bind_input, METH_VARARGS, "bind_input(i, tensor)"},
    {"bind_output", context_bind_output, METH_VARARGS, "bind_output(i, Value or None, on_device)"},
    {"run", context_run, METH_NOARGS, "runs and waits"},
    {"run_async", context_run_async, METH_NOARGS, "enqueues a run; on the CPU it is run()"},
    {"synchronize", context_synchronize, METH_NOARGS, "waits for run_async"},
    {"warm", context_warm, METH_NOARGS, "makes what is made once a shape"},
    {"value", context_value, METH_VARARGS, "value(i) -> Value of output i, where it lies"},
    {"read", context_read, METH_O, "read(Value) -> array"},
    {"write", context_write, METH_VARARGS, "write(Value on the GPU, tensor)"},
    {"bytes", context_bytes, METH_NOARGS, "(host, device) bytes held"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot context_slots[] = {
    {Py_tp_new, (void *)context_new},
    {Py_tp_dealloc, (void *)context_dealloc},
    {Py_tp_methods, context_methods},
    {Py_tp_doc, "Context(plan, threads=0): one context with tensors bound to it, for one thread at a time."},
    {0, NULL},
};
static PyType_Spec context_spec = {"tenon._core.Context", sizeof(Context), 0, Py_TPFLAGS_DEFAULT, context_slots};

int core_add_context(PyObject *module) {
    PyObject *type = core_add_type(module, "Context", &context_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}
