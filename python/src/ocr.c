/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation, and text lines from pictures (pipelines/ocr.h). */
#include <string.h>

#include "pipelines/ocr.h"
#include "pipelines/tensor_error.h"
#include "python/src/pipe.h"

static PyObject *generated(const TnGenerated *g, uint32_t lines) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < lines; i++) {
        TnTensor tokens = {.data = (void *)(uintptr_t)g[i].tokens, .dtype = TN_I32, .rank = 1, .dims = {g[i].n}};
        TnTensor probs = {.data = (void *)(uintptr_t)g[i].log_probs, .dtype = TN_F32, .rank = 1, .dims = {g[i].n}};
        PyObject *a = core_array_copy(&tokens), *b = a == NULL ? NULL : core_array_copy(&probs);
        PyObject *row = b == NULL ? NULL : Py_BuildValue("OOf", a, b, (double)g[i].score);
        Py_XDECREF(a);
        Py_XDECREF(b);
        if (row == NULL || PyList_Append(list, row) != 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static int parse_generate(PyObject *args, PyObject *kwargs, PyObject **inputs, TnGenerateOptions *o) {
    static char *names[] = {"inputs", "max_length", "num_beams", "length_penalty", "early_stopping", "min_new_tokens", NULL};
    PyObject *penalty = Py_None;
    *o = tn_generate_options_default();
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$IIOiI", names, inputs, &o->max_length, &o->num_beams, &penalty, &o->early_stopping, &o->min_new_tokens))
        return -1;
    if (penalty != Py_None)
        o->length_penalty = (float)PyFloat_AsDouble(penalty);
    return PyErr_Occurred() ? -1 : 0;
}

/* inputs: a list of tensors in the plan's order; the first dim of the first is the number of lines. */
PyObject *core_generate(TnContext *ctx, CorePlan *plan, PyObject *args, PyObject *kwargs) {
    PyObject *list, *result = NULL;
    TnGenerateOptions o;
    TnError err = {0};
    TnStatus st;
    if (parse_generate(args, kwargs, &list, &o) != 0)
        return NULL;
    if (!tn_plan_is_generator(plan->plan))
        return core_fail(TN_ERR_REQUEST, "the plan generates no text: build it from a checkpoint with an encoder and a decoder");
    if (!PyList_Check(list) || PyList_Size(list) != (Py_ssize_t)plan->n_in || plan->n_in == 0)
        return core_fail(TN_ERR_ARGUMENT, "generate needs the %u inputs of the encoder", plan->n_in);
    CoreTensor *in = calloc(plan->n_in, sizeof *in);
    TnTensor *t = calloc(plan->n_in, sizeof *t);
    TnGenerated *g = NULL;
    uint32_t taken = 0, on_device = 0;
    bool ok = in != NULL && t != NULL;
    if (!ok)
        PyErr_NoMemory();
    while (ok && taken < plan->n_in) {
        uint32_t i = taken++;
        ok = core_tensor_take(PyList_GetItem(list, (Py_ssize_t)i), plan->in[i].name, &plan->in[i], &in[i]) == 0;
        t[i] = in[i].t;
        on_device += in[i].on_device;
    }
    if (ok && on_device != 0 && on_device != plan->n_in) {
        core_fail(TN_ERR_ARGUMENT, "either all inputs lie on the GPU or none; %u of %u do", on_device, plan->n_in);
        ok = false;
    }
    if (ok && (t[0].rank < 1 || t[0].dims[0] < 1 || t[0].dims[0] > 1 << 20)) {
        core_fail(TN_ERR_SHAPE, "the first dim of input '%s' must be the number of lines, 1 or more", plan->in[0].name);
        ok = false;
    }
    if (ok) {
        uint32_t lines = (uint32_t)t[0].dims[0];
        o.inputs_on_device = on_device != 0;
        g = calloc(lines, sizeof *g);
        if (g == NULL) {
            PyErr_NoMemory();
        } else {
            Py_BEGIN_ALLOW_THREADS
            st = tn_context_generate(ctx, t, plan->n_in, &o, g, lines, &err);
            Py_END_ALLOW_THREADS
            result = st == TN_OK ? generated(g, lines) : core_raise(&err, NULL);
        }
    }
    for (uint32_t i = 0; i < taken; i++)
        core_tensor_release(&in[i]);
    free(in);
    free(t);
    free(g);
    return result;
}

/* ---- Ocr ---- */

typedef struct Ocr {
    PyObject_HEAD
    TnOcr *ocr;
    CorePlan *plan;
    unsigned generation;
    bool busy;
} Ocr;

static PyObject *ocr_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "threads", NULL};
    PyObject *plan;
    unsigned threads = 0;
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|I", names, core_plan_type, &plan, &threads))
        return NULL;
    Ocr *o = (Ocr *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (o == NULL)
        return NULL;
    o->plan = (CorePlan *)Py_NewRef(plan);
    o->generation = core_generation;
    Py_BEGIN_ALLOW_THREADS
    st = tn_ocr_create(o->plan->plan, threads, &o->ocr, &err);
    Py_END_ALLOW_THREADS
    if (st == TN_OK)
        return (PyObject *)o;
    Py_DECREF(o);
    return core_raise(&err, NULL);
}

static void ocr_dealloc(PyObject *self) {
    Ocr *o = (Ocr *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (o->generation == core_generation)
        tn_ocr_destroy(&o->ocr);
    Py_CLEAR(o->plan);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *line_tuple(const TnOcrLine *l) {
    PyObject *chars = PyList_New(0);
    for (uint32_t k = 0; chars != NULL && k < l->n_chars; k++) {
        PyObject *c = Py_BuildValue("sf", l->chars[k], (double)l->char_confidence[k]);
        if (c == NULL || PyList_Append(chars, c) != 0)
            Py_CLEAR(chars);
        Py_XDECREF(c);
    }
    return chars == NULL ? NULL : Py_BuildValue("sfN", l->text, (double)l->confidence, chars);
}

/* read([array], max_length=0, num_beams=0, ...) -> ([(text, confidence, [(char, confidence)])], preprocess ms, generate ms) */
static PyObject *ocr_read(PyObject *self, PyObject *args, PyObject *kwargs) {
    Ocr *o = (Ocr *)self;
    PyObject *list, *result = NULL;
    TnGenerateOptions go;
    TnError err = {0};
    TnStatus st;
    TnOcrTimes times = {0};
    if (parse_generate(args, kwargs, &list, &go) != 0)
        return NULL;
    if (o->busy || o->generation != core_generation)
        return core_fail(TN_ERR_STATE, o->busy ? "this reader is busy in another thread" : "this process was forked after the reader was made; make it in the child");
    CoreImages images;
    TnOcrLine *lines = NULL;
    bool ok = core_images_take(list, &images) == 0;
    if (ok && (lines = calloc(images.n, sizeof *lines)) == NULL) {
        PyErr_NoMemory();
        ok = false;
    }
    if (ok) {
        o->busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_ocr_read(o->ocr, images.items, images.n, &go, lines, &times, &err);
        Py_END_ALLOW_THREADS
        PyObject *rows = st == TN_OK ? PyList_New(0) : core_raise(&err, NULL);
        for (uint32_t i = 0; rows != NULL && i < images.n; i++)
            rows = core_list_append(rows, line_tuple(&lines[i]));
        result = rows == NULL ? NULL : Py_BuildValue("Ndd", rows, times.preprocess_ms, times.generate_ms);
        o->busy = false; /* the lines live in the reader until its next call */
    }
    core_images_release(&images);
    free(lines);
    return result;
}

static PyObject *ocr_min_confidence(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyFloat_FromDouble((double)tn_ocr_min_confidence(((Ocr *)self)->ocr));
}

/* preprocess(array) -> float32 [3, H, W] */
static PyObject *ocr_preprocess(PyObject *self, PyObject *arg) {
    const Ocr *o = (Ocr *)self;
    CoreTensor t = {0};
    TnImage image;
    TnError err = {0};
    uint32_t w, h;
    void *data;
    PyObject *a = NULL;
    tn_ocr_size(o->ocr, &w, &h);
    if (core_image_take(arg, &t, &image) == 0 && (a = core_array_new(TN_F32, 3, (int64_t[]){3, h, w}, false, &data)) != NULL &&
        tn_ocr_preprocess(o->ocr, &image, data, &err) != TN_OK) {
        Py_CLEAR(a);
        core_raise(&err, NULL);
    }
    core_tensor_release(&t);
    return a;
}

static PyMethodDef ocr_methods[] = {
    {"read", (PyCFunction)(void (*)(void))ocr_read, METH_VARARGS | METH_KEYWORDS, "read([array], ...) -> (lines, preprocess ms, generate ms)"},
    {"min_confidence", ocr_min_confidence, METH_NOARGS, "least confidence of a reading worth keeping"},
    {"preprocess", ocr_preprocess, METH_O, "preprocess(array) -> float32 [3, H, W]"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot ocr_slots[] = {
    {Py_tp_new, (void *)ocr_new},
    {Py_tp_dealloc, (void *)ocr_dealloc},
    {Py_tp_methods, ocr_methods},
    {Py_tp_doc, "Ocr(plan, threads=0): reads text lines."},
    {0, NULL},
};
static PyType_Spec ocr_spec = {"tenon._core.Ocr", sizeof(Ocr), 0, Py_TPFLAGS_DEFAULT, ocr_slots};

/* ---- tensors ---- */

/* tensor_error(got, want) -> dict; types and shapes must agree. */
static PyObject *tensor_error(PyObject *module, PyObject *args) {
    PyObject *got, *want, *result = NULL;
    CoreTensor a = {0}, b = {0};
    TnTensorError e;
    TnError err = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &got, &want))
        return NULL;
    if (core_tensor_take(got, "got", NULL, &a) == 0 && core_tensor_take(want, "want", NULL, &b) == 0) {
        if (tn_tensor_error(&a.t, &b.t, &e, &err) != TN_OK)
            core_raise(&err, NULL);
        else
            result = Py_BuildValue("{s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:d,s:L,s:L}", "max_abs", e.max_abs, "mean_abs", e.mean_abs, "median_abs", e.median_abs,
                                   "max_rel", e.max_rel, "mean_rel", e.mean_rel, "median_rel", e.median_rel, "scale", e.scale, "max_abs_want",
                                   e.max_abs_want, "n", (long long)e.n, "nan_mismatches", (long long)e.n_nan_mismatch);
    }
    core_tensor_release(&a);
    core_tensor_release(&b);
    return result;
}

static PyMethodDef functions[] = {
    {"tensor_error", tensor_error, METH_VARARGS, "tensor_error(got, want) -> dict"},
    {NULL, NULL, 0, NULL},
};

int core_add_ocr(PyObject *module) {
    PyObject *type = core_add_type(module, "Ocr", &ocr_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
