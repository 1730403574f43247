/* SPDX-License-Identifier: Apache-2.0
 *
 * Building plans, looking at rewrites, and the reference interpreter. Log and progress go to Python callables; an exception there, or Ctrl-C, stops the build. */
#include "python/src/core.h"

#include <string.h>

/* Options as Python gave them. Strings live in the arguments, samples in `tensors`. */
typedef struct Options {
    TnBuildOptions o;
    TnLog log;
    TnProgress progress;
    PyObject *log_fn, *progress_fn;
    PyObject *error[3]; /* the first exception of a callable */
    CoreTensor *tensors;
    const char **names;
    TnTensor *samples;
} Options;

static void keep_error(Options *o) {
    if (o->error[0] == NULL)
        PyErr_Fetch(&o->error[0], &o->error[1], &o->error[2]);
    else
        PyErr_Clear();
}

static void on_log(void *ctx, TnLogLevel level, const char *message) {
    Options *o = ctx;
    PyGILState_STATE g = PyGILState_Ensure();
    if (o->error[0] == NULL) {
        PyObject *r = PyObject_CallFunction(o->log_fn, "is", (int)level, message);
        if (r == NULL)
            keep_error(o);
        Py_XDECREF(r);
    }
    PyGILState_Release(g);
}

static int on_progress(void *ctx, const char *phase, size_t done, size_t total) {
    Options *o = ctx;
    PyGILState_STATE g = PyGILState_Ensure();
    if (o->error[0] == NULL && PyErr_CheckSignals() != 0)
        keep_error(o);
    if (o->error[0] == NULL && o->progress_fn != Py_None) {
        PyObject *r = PyObject_CallFunction(o->progress_fn, "snn", phase, (Py_ssize_t)done, (Py_ssize_t)total);
        if (r == NULL)
            keep_error(o);
        Py_XDECREF(r);
    }
    int stop = o->error[0] != NULL;
    PyGILState_Release(g);
    return stop;
}

static int take_samples(Options *o, PyObject *samples) {
    PyObject *name, *tensor;
    Py_ssize_t at = 0, n = samples == Py_None ? 0 : PyDict_Size(samples);
    if (n < 0)
        return -1;
    o->tensors = calloc((size_t)n + 1, sizeof *o->tensors);
    o->names = calloc((size_t)n + 1, sizeof *o->names);
    o->samples = calloc((size_t)n + 1, sizeof *o->samples);
    if (o->tensors == NULL || o->names == NULL || o->samples == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (n > 0 && PyDict_Next(samples, &at, &name, &tensor)) {
        uint32_t i = o->o.n_samples;
        if ((o->names[i] = PyUnicode_AsUTF8AndSize(name, NULL)) == NULL)
            return -1;
        o->o.n_samples++;
        if (core_tensor_take(tensor, o->names[i], NULL, &o->tensors[i]) != 0)
            return -1;
        o->samples[i] = o->tensors[i].t;
    }
    o->o.sample_names = o->names;
    o->o.samples = o->samples;
    return 0;
}

/* From a dict with the fields of TnBuildOptions (strings or None, numbers), samples, log and progress. */
static int options_begin(PyObject *kwargs, Options *o) {
    static char *names[] = {"shapes", "tune", "threads", "timing_cache", "cpu", "reference", "stop_after", "device", "precision", "target",
                            "allow_cpu_steps", "buckets", "head_dim", "image_size", "config", "head", "attention", "score_threshold", "samples", "log", "progress", NULL};
    PyObject *samples = Py_None, *none = PyTuple_New(0);
    memset(o, 0, sizeof *o);
    o->o = tn_build_options_default();
    o->log_fn = o->progress_fn = Py_None;
    if (none == NULL)
        return -1;
    int ok = PyArg_ParseTupleAndKeywords(none, kwargs, "|$zpIzzpzzzzpzIIzzzfOOO", names, &o->o.shapes, &o->o.tune, &o->o.threads, &o->o.timing_cache, &o->o.cpu,
                                         &o->o.reference, &o->o.stop_after, &o->o.device, &o->o.precision, &o->o.target, &o->o.allow_cpu_steps,
                                         &o->o.buckets, &o->o.head_dim, &o->o.image_size, &o->o.config, &o->o.head, &o->o.attention,
                                         &o->o.score_threshold, &samples, &o->log_fn, &o->progress_fn);
    Py_DECREF(none);
    if (!ok)
        return -1;
    if (o->log_fn != Py_None) {
        o->log = (TnLog){on_log, o};
        o->o.log = &o->log;
    }
    o->progress = (TnProgress){on_progress, o};
    o->o.progress = &o->progress;
    return take_samples(o, samples);
}

/* Releases, and turns the outcome into an exception: that of a callable before the library's own. */
static int options_end(Options *o, TnStatus st, const TnError *err, const char *file) {
    for (uint32_t i = 0; o->tensors != NULL && i < o->o.n_samples; i++)
        core_tensor_release(&o->tensors[i]);
    free(o->tensors);
    free(o->names);
    free(o->samples);
    if (o->error[0] != NULL)
        PyErr_Restore(o->error[0], o->error[1], o->error[2]);
    else if (!PyErr_Occurred() && st != TN_OK)
        core_raise(err, file);
    return PyErr_Occurred() ? -1 : 0;
}

/* (model, ..., dict) -> path as bytes in *path. */
static const char *path_of(PyObject *o, PyObject **path) {
    *path = NULL;
    return PyUnicode_FSConverter(o, path) ? PyBytes_AsString(*path) : NULL;
}

/* ---- Memory: a plan that was built there ---- */

typedef struct Memory {
    PyObject_HEAD
    void *data;
    size_t n;
} Memory;
static PyObject *memory_type;

static void memory_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (((Memory *)o)->data != NULL)
        tn_build_free(NULL, ((Memory *)o)->data);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static int memory_getbuffer(PyObject *o, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, o, ((Memory *)o)->data, (Py_ssize_t)((Memory *)o)->n, 1, flags);
}

static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, (void *)memory_dealloc},
    {Py_bf_getbuffer, (void *)memory_getbuffer},
    {Py_tp_doc, "The bytes of a plan that was built in memory; read only."},
    {0, NULL},
};
static PyType_Spec memory_spec = {"tenon._core.Memory", sizeof(Memory), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

/* build(model, plan path or None, options) -> Memory or None */
static PyObject *build(PyObject *module, PyObject *args) {
    PyObject *model_o, *plan_o, *kwargs, *model_b, *plan_b = NULL, *result = NULL;
    Options o;
    TnError err = {0};
    TnStatus st = TN_OK;
    void *data = NULL;
    size_t n = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!", &model_o, &plan_o, &PyDict_Type, &kwargs))
        return NULL;
    const char *model = path_of(model_o, &model_b), *plan = plan_o == Py_None || model == NULL ? NULL : path_of(plan_o, &plan_b);
    if (model == NULL || (plan_o != Py_None && plan == NULL))
        goto end;
    if (options_begin(kwargs, &o) == 0) {
        Py_BEGIN_ALLOW_THREADS
        st = plan != NULL ? tn_build_file(model, plan, &o.o, &err) : tn_build_memory(model, &o.o, &data, &n, &err);
        Py_END_ALLOW_THREADS
        PyErr_CheckSignals();
    }
    if (options_end(&o, st, &err, model) == 0) {
        if (plan != NULL) {
            result = Py_NewRef(Py_None);
        } else {
            Memory *m = (Memory *)((allocfunc)PyType_GetSlot((PyTypeObject *)memory_type, Py_tp_alloc))((PyTypeObject *)memory_type, 0);
            if (m != NULL) {
                m->data = data;
                m->n = n;
                data = NULL;
            }
            result = (PyObject *)m;
        }
    }
    if (data != NULL)
        tn_build_free(NULL, data);
end:
    Py_XDECREF(model_b);
    Py_XDECREF(plan_b);
    return result;
}

/* inspect_model(model, after or None, options) -> text of the graph */
static PyObject *inspect_model(PyObject *module, PyObject *args) {
    PyObject *model_o, *kwargs, *model_b, *result = NULL;
    const char *after;
    Options o;
    TnError err = {0};
    TnStatus st = TN_OK;
    CoreText text = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "OzO!", &model_o, &after, &PyDict_Type, &kwargs))
        return NULL;
    const char *model = path_of(model_o, &model_b);
    if (model != NULL) {
        if (options_begin(kwargs, &o) == 0) {
            Py_BEGIN_ALLOW_THREADS
            st = tn_inspect_model(model, &o.o, after, core_text_add, &text, &err);
            Py_END_ALLOW_THREADS
        }
        result = core_text_take(&text);
        if (options_end(&o, st, &err, model) != 0)
            Py_CLEAR(result);
    }
    Py_XDECREF(model_b);
    return result;
}

PyMethodDef core_build_methods[] = {
    {"build", build, METH_VARARGS, "build(model, plan or None, options) -> Memory or None"},
    {"inspect_model", inspect_model, METH_VARARGS, "inspect_model(model, after or None, options) -> str"},
    {NULL, NULL, 0, NULL},
};

/* ---- the reference interpreter ---- */

typedef struct Reference {
    PyObject_HEAD
    TnReference *ref;
    PyObject *model;
    bool busy;
} Reference;

static PyObject *reference_new(PyTypeObject *type, PyObject *args, PyObject *unused) {
    PyObject *model, *kwargs;
    TnError err = {0};
    TnStatus st = TN_OK;
    (void)unused;
    if (!PyArg_ParseTuple(args, "OO!", &model, &PyDict_Type, &kwargs))
        return NULL;
    Reference *r = (Reference *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (r == NULL)
        return NULL;
    Options o;
    const char *path = path_of(model, &r->model);
    if (path != NULL) {
        if (options_begin(kwargs, &o) == 0) {
            o.o.progress = NULL; /* the interpreter keeps the options, which end here */
            o.o.log = NULL;
            Py_BEGIN_ALLOW_THREADS
            st = tn_reference_open(path, &o.o, &r->ref, &err);
            Py_END_ALLOW_THREADS
        }
        if (options_end(&o, st, &err, path) == 0)
            return (PyObject *)r;
    }
    Py_DECREF(r);
    return NULL;
}

static void reference_dealloc(PyObject *o) {
    Reference *r = (Reference *)o;
    PyTypeObject *type = Py_TYPE(o);
    tn_reference_close(&r->ref);
    Py_XDECREF(r->model);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static PyObject *reference_names(PyObject *o, PyObject *unused) {
    const Reference *r = (Reference *)o;
    PyObject *in = PyList_New(0), *out = PyList_New(0);
    (void)unused;
    for (uint32_t i = 0; in != NULL && i < tn_reference_input_count(r->ref); i++) {
        PyObject *s = PyUnicode_FromString(tn_reference_input_name(r->ref, i));
        if (s == NULL || PyList_Append(in, s) != 0)
            Py_CLEAR(in);
        Py_XDECREF(s);
    }
    for (uint32_t i = 0; out != NULL && i < tn_reference_output_count(r->ref); i++) {
        PyObject *s = PyUnicode_FromString(tn_reference_output_name(r->ref, i));
        if (s == NULL || PyList_Append(out, s) != 0)
            Py_CLEAR(out);
        Py_XDECREF(s);
    }
    PyObject *pair = in == NULL || out == NULL ? NULL : Py_BuildValue("OO", in, out);
    Py_XDECREF(in);
    Py_XDECREF(out);
    return pair;
}

typedef struct Seen {
    PyObject *fn, *error[3];
} Seen;

static void on_tensor(void *ctx, const char *name, const TnTensor *t) {
    Seen *s = ctx;
    PyGILState_STATE g = PyGILState_Ensure();
    if (s->error[0] == NULL) {
        PyObject *a = core_array_copy(t), *r = a == NULL ? NULL : PyObject_CallFunction(s->fn, "sO", name, a);
        if (r == NULL)
            PyErr_Fetch(&s->error[0], &s->error[1], &s->error[2]);
        Py_XDECREF(a);
        Py_XDECREF(r);
    }
    PyGILState_Release(g);
}

/* run([tensor], fn or None) -> [array]; fn(name, array) sees every tensor. */
static PyObject *reference_run(PyObject *o, PyObject *args) {
    Reference *r = (Reference *)o;
    PyObject *list, *result = NULL;
    Seen seen = {0};
    TnError err = {0};
    TnStatus st = TN_OK;
    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &list, &seen.fn))
        return NULL;
    uint32_t n_in = tn_reference_input_count(r->ref), n_out = tn_reference_output_count(r->ref), taken = 0;
    if (r->busy || PyList_Size(list) != (Py_ssize_t)n_in)
        return core_fail(r->busy ? TN_ERR_STATE : TN_ERR_ARGUMENT, r->busy ? "the interpreter is running in another thread" : "%u inputs are needed", n_in);
    CoreTensor *in = calloc(n_in + 1u, sizeof *in);
    TnTensor *t = calloc(n_in + 1u, sizeof *t), *out = calloc(n_out + 1u, sizeof *out);
    bool ok = in != NULL && t != NULL && out != NULL;
    if (!ok)
        PyErr_NoMemory();
    while (ok && taken < n_in) {
        uint32_t i = taken++;
        ok = core_tensor_take(PyList_GetItem(list, (Py_ssize_t)i), tn_reference_input_name(r->ref, i), NULL, &in[i]) == 0;
        t[i] = in[i].t;
    }
    if (ok) {
        r->busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_reference_run(r->ref, t, out, seen.fn == Py_None ? NULL : on_tensor, &seen, &err);
        Py_END_ALLOW_THREADS
        r->busy = false;
        if (seen.error[0] != NULL)
            PyErr_Restore(seen.error[0], seen.error[1], seen.error[2]);
        else if (st != TN_OK)
            core_raise(&err, PyBytes_AsString(r->model));
        else
            result = PyList_New(0);
        for (uint32_t i = 0; i < n_out; i++) {
            PyObject *a = result == NULL ? NULL : core_array_copy(&out[i]);
            if (result != NULL && (a == NULL || PyList_Append(result, a) != 0))
                Py_CLEAR(result);
            Py_XDECREF(a);
            if (out[i].data != NULL)
                tn_build_free(NULL, out[i].data);
        }
    }
    for (uint32_t i = 0; i < taken; i++)
        core_tensor_release(&in[i]);
    free(in);
    free(t);
    free(out);
    return result;
}

static PyMethodDef reference_methods[] = {
    {"names", reference_names, METH_NOARGS, "([input name], [output name])"},
    {"run", reference_run, METH_VARARGS, "run([tensor], fn or None) -> [array]"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot reference_slots[] = {
    {Py_tp_new, (void *)reference_new},
    {Py_tp_dealloc, (void *)reference_dealloc},
    {Py_tp_methods, reference_methods},
    {Py_tp_doc, "Reference(model, options): a model in the reference interpreter."},
    {0, NULL},
};
static PyType_Spec reference_spec = {"tenon._core.Reference", sizeof(Reference), 0, Py_TPFLAGS_DEFAULT, reference_slots};

int core_add_reference(PyObject *module) {
    PyObject *type = core_add_type(module, "Reference", &reference_spec);
    Py_XDECREF(type);
    memory_type = core_add_type(module, "Memory", &memory_spec);
    return type == NULL || memory_type == NULL ? -1 : 0;
}
