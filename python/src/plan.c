/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: an opened plan, from a file or from memory, and what it says about itself. */
#include "python/src/core.h"

#include <string.h>

PyObject *core_plan_type;

static void plan_dealloc(PyObject *o) {
    CorePlan *p = (CorePlan *)o;
    PyTypeObject *type = Py_TYPE(o);
    for (uint32_t i = 0; p->in_names != NULL && i < p->n_in; i++)
        Py_XDECREF(p->in_names[i]);
    for (uint32_t i = 0; p->out_names != NULL && i < p->n_out; i++)
        Py_XDECREF(p->out_names[i]);
    free(p->in_names);
    free(p->out_names);
    free(p->in);
    free(p->out);
    if (!p->on_device || p->generation == core_generation) /* a GPU does not come along into a forked process */
        tn_plan_close(&p->plan);
    if (p->has_memory)
        PyBuffer_Release(&p->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static int describe(CorePlan *p) {
    TnError err = {0};
    TnDeviceDescription d;
    p->n_in = tn_plan_input_count(p->plan);
    p->n_out = tn_plan_output_count(p->plan);
    p->in = calloc(p->n_in + 1u, sizeof *p->in);
    p->out = calloc(p->n_out + 1u, sizeof *p->out);
    p->in_names = calloc(p->n_in + 1u, sizeof *p->in_names);
    p->out_names = calloc(p->n_out + 1u, sizeof *p->out_names);
    if (p->in == NULL || p->out == NULL || p->in_names == NULL || p->out_names == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    TnStatus st = tn_plan_device(p->plan, &d, &err);
    for (uint32_t i = 0; st == TN_OK && i < p->n_in; i++)
        if ((st = tn_plan_input(p->plan, i, &p->in[i], &err)) == TN_OK && (p->in_names[i] = PyUnicode_InternFromString(p->in[i].name)) == NULL)
            return -1;
    for (uint32_t i = 0; st == TN_OK && i < p->n_out; i++)
        if ((st = tn_plan_output(p->plan, i, &p->out[i], &err)) == TN_OK && (p->out_names[i] = PyUnicode_InternFromString(p->out[i].name)) == NULL)
            return -1;
    if (st != TN_OK) {
        core_raise(&err, NULL);
        return -1;
    }
    p->on_device = strcmp(d.kind, "cpu") != 0;
    return 0;
}

/* Plan(source, device_index=-1, inspect=False, verify=False, log=None): source is a path (str, bytes of a path are not taken) or an object with bytes. */
static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"source", "device_index", "inspect", "verify", NULL};
    PyObject *source, *path = NULL;
    int device_index = -1, inspect = 0, verify = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|ipp", names, &source, &device_index, &inspect, &verify))
        return NULL;
    CorePlan *p = (CorePlan *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (p == NULL)
        return NULL;
    TnPlanOptions o = tn_plan_options_default();
    o.device_index = device_index;
    o.inspect = inspect;
    o.verify_weights = verify;
    TnError err = {0};
    TnStatus st;
    const char *file = NULL;
    p->generation = core_generation;
    if (PyUnicode_Check(source)) {
        if (!PyUnicode_FSConverter(source, &path) || (file = PyBytes_AsString(path)) == NULL)
            goto fail;
        Py_BEGIN_ALLOW_THREADS
        st = tn_plan_open(file, &o, &p->plan, &err);
        Py_END_ALLOW_THREADS
    } else {
        if (PyObject_GetBuffer(source, &p->memory, PyBUF_SIMPLE) != 0)
            goto fail;
        p->has_memory = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_plan_open_memory(p->memory.buf, (size_t)p->memory.len, &o, &p->plan, &err);
        Py_END_ALLOW_THREADS
    }
    if (st != TN_OK)
        core_raise(&err, file);
    else if (describe(p) == 0) {
        Py_XDECREF(path);
        return (PyObject *)p;
    }
fail:
    Py_XDECREF(path);
    Py_DECREF(p);
    return NULL;
}

static PyObject *dims_of(const TnIoInfo *io) {
    PyObject *list = PyList_New(0);
    for (int32_t i = 0; list != NULL && i < io->rank; i++) {
        PyObject *d = io->dims[i] >= 0 ? PyLong_FromLongLong(io->dims[i]) : PyUnicode_FromString(io->dim_names[i]);
        if (d == NULL || PyList_Append(list, d) != 0)
            Py_CLEAR(list);
        Py_XDECREF(d);
    }
    return list;
}

static PyObject *ranges_of(const TnIoInfo *io) {
    PyObject *list = PyList_New(0);
    for (int32_t i = 0; list != NULL && i < io->rank; i++) {
        PyObject *max = io->max[i] == INT64_MAX ? Py_NewRef(Py_None) : PyLong_FromLongLong(io->max[i]);
        PyObject *r = max == NULL ? NULL : Py_BuildValue("LLN", (long long)io->min[i], (long long)io->opt[i], max);
        if (r == NULL || PyList_Append(list, r) != 0)
            Py_CLEAR(list);
        Py_XDECREF(r);
    }
    return list;
}

static PyObject *ports(const TnIoInfo *io, uint32_t n) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < n; i++) {
        PyObject *dims = dims_of(&io[i]), *ranges = ranges_of(&io[i]), *row = NULL;
        if (dims != NULL && ranges != NULL)
            row = Py_BuildValue("siOO", io[i].name, (int)io[i].dtype, dims, ranges);
        Py_XDECREF(dims);
        Py_XDECREF(ranges);
        if (row == NULL || PyList_Append(list, row) != 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *plan_inputs(PyObject *o, PyObject *unused) {
    (void)unused;
    return ports(((CorePlan *)o)->in, ((CorePlan *)o)->n_in);
}

static PyObject *plan_outputs(PyObject *o, PyObject *unused) {
    (void)unused;
    return ports(((CorePlan *)o)->out, ((CorePlan *)o)->n_out);
}

static PyObject *plan_dump(PyObject *o, PyObject *args) {
    int json = 0;
    CoreText text = {0};
    if (!PyArg_ParseTuple(args, "|p", &json))
        return NULL;
    tn_plan_dump(((CorePlan *)o)->plan, json, core_text_add, &text);
    return core_text_take(&text);
}

static PyObject *plan_explain(PyObject *o, PyObject *args) {
    int json = 0;
    CoreText text = {0};
    if (!PyArg_ParseTuple(args, "|p", &json))
        return NULL;
    tn_plan_explain(((CorePlan *)o)->plan, json, core_text_add, &text);
    return core_text_take(&text);
}

static PyObject *plan_meta(PyObject *o, PyObject *args) {
    const char *key;
    size_t n = 0;
    if (!PyArg_ParseTuple(args, "s", &key))
        return NULL;
    const void *data = tn_plan_meta(((CorePlan *)o)->plan, key, &n);
    return data == NULL ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(data, (Py_ssize_t)n);
}

static PyObject *plan_device(PyObject *o, PyObject *unused) {
    TnDeviceDescription d;
    TnError err = {0};
    (void)unused;
    if (tn_plan_device(((CorePlan *)o)->plan, &d, &err) != TN_OK)
        return core_raise(&err, NULL);
    return Py_BuildValue("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:K,s:d,s:d,s:d,s:d}", "kind", d.kind, "name", d.name, "index", d.index, "capability",
                         d.capability, "plan_capability", d.plan_capability, "driver", d.driver, "runtime", d.runtime, "memory_bytes",
                         (unsigned long long)d.memory_bytes, "bytes_per_second", d.bytes_per_second, "half_flops", d.half_flops, "tf32_flops",
                         d.tf32_flops, "float_flops", d.float_flops);
}

static PyObject *plan_is_generator(PyObject *o, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(tn_plan_is_generator(((CorePlan *)o)->plan));
}

static PyMethodDef plan_methods[] = {
    {"inputs", plan_inputs, METH_NOARGS, "[(name, dtype, dims, [(min, opt, max or None)])]"},
    {"outputs", plan_outputs, METH_NOARGS, "as inputs()"},
    {"dump", plan_dump, METH_VARARGS, "dump(json=False) -> str"},
    {"explain", plan_explain, METH_VARARGS, "explain(json=False) -> str"},
    {"meta", plan_meta, METH_VARARGS, "meta(key) -> bytes or None"},
    {"device", plan_device, METH_NOARGS, "what the plan runs on"},
    {"is_generator", plan_is_generator, METH_NOARGS, "True when the plan carries a generation loop"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot plan_slots[] = {
    {Py_tp_new, (void *)plan_new},
    {Py_tp_dealloc, (void *)plan_dealloc},
    {Py_tp_methods, plan_methods},
    {Py_tp_doc, "Plan(source, device_index=-1, inspect=False, verify=False): an opened plan; source is a path or an object with the plan's bytes."},
    {0, NULL},
};
static PyType_Spec plan_spec = {"tenon._core.Plan", sizeof(CorePlan), 0, Py_TPFLAGS_DEFAULT, plan_slots};

int core_add_plan(PyObject *module) {
    core_plan_type = core_add_type(module, "Plan", &plan_spec);
    return core_plan_type == NULL ? -1 : 0;
}
