/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation, and text lines from pictures (pipelines/ocr.h). */
#include <string.h>

#include "pipelines/ocr.h"
#include "pipelines/tensor_error.h"
#include "python/src/core.h"

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

/* An array uint8 [height, width, 3] as a picture that shares its memory. */
static int take_image(PyObject *o, CoreTensor *t, TnImage *image) {
    TnIoInfo want = {.dtype = TN_U8};
    if (core_tensor_take(o, "image", &want, t) != 0)
        return -1;
    if (t->t.rank != 3 || t->t.dims[2] != 3 || t->t.dims[0] < 1 || t->t.dims[1] < 1 || t->t.dims[0] * t->t.dims[1] > TN_IMAGE_MAX_PIXELS) {
        core_fail(TN_ERR_SHAPE, "a picture is an array uint8 [height, width, 3] of at most %u pixels", TN_IMAGE_MAX_PIXELS);
        return -1;
    }
    *image = (TnImage){t->t.data, (uint32_t)t->t.dims[1], (uint32_t)t->t.dims[0]};
    return 0;
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
    Py_ssize_t n = PyList_Check(list) ? PyList_Size(list) : -1, taken = 0;
    if (n < 1 || n > 4096)
        return core_fail(TN_ERR_ARGUMENT, "read takes a list of 1 to 4096 pictures");
    CoreTensor *t = calloc((size_t)n, sizeof *t);
    TnImage *images = calloc((size_t)n, sizeof *images);
    TnOcrLine *lines = calloc((size_t)n, sizeof *lines);
    bool ok = t != NULL && images != NULL && lines != NULL;
    if (!ok)
        PyErr_NoMemory();
    while (ok && taken < n) {
        ok = take_image(PyList_GetItem(list, taken), &t[taken], &images[taken]) == 0;
        taken++;
    }
    if (ok) {
        o->busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_ocr_read(o->ocr, images, (uint32_t)n, &go, lines, &times, &err);
        Py_END_ALLOW_THREADS
        o->busy = false;
        PyObject *rows = st == TN_OK ? PyList_New(0) : core_raise(&err, NULL);
        for (Py_ssize_t i = 0; rows != NULL && i < n; i++) {
            PyObject *row = line_tuple(&lines[i]);
            if (row == NULL || PyList_Append(rows, row) != 0)
                Py_CLEAR(rows);
            Py_XDECREF(row);
        }
        result = rows == NULL ? NULL : Py_BuildValue("Ndd", rows, times.preprocess_ms, times.generate_ms);
    }
    for (Py_ssize_t i = 0; i < taken; i++)
        core_tensor_release(&t[i]);
    free(t);
    free(images);
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
    CoreTensor t;
    TnImage image;
    TnError err = {0};
    uint32_t w, h;
    void *data;
    PyObject *a = NULL;
    tn_ocr_size(o->ocr, &w, &h);
    if (take_image(arg, &t, &image) == 0 && (a = core_array_new(TN_F32, 3, (int64_t[]){3, h, w}, false, &data)) != NULL &&
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

/* ---- functions on pictures and tensors ---- */

static PyObject *image_array(TnStatus st, TnImage *image, const TnError *err, const char *file) {
    if (st != TN_OK)
        return core_raise(err, file);
    TnTensor t = {.data = image->rgb, .dtype = TN_U8, .rank = 3, .dims = {image->height, image->width, 3}};
    PyObject *a = core_array_copy(&t);
    tn_image_free(image);
    return a;
}

/* image(path or bytes) -> uint8 [height, width, 3] */
static PyObject *load_image(PyObject *module, PyObject *arg) {
    TnImage image = {0};
    TnError err = {0};
    TnStatus st;
    PyObject *path, *a;
    (void)module;
    if (PyUnicode_Check(arg)) {
        if (!PyUnicode_FSConverter(arg, &path))
            return NULL;
        const char *file = PyBytes_AsString(path);
        Py_BEGIN_ALLOW_THREADS
        st = tn_image_load(file, &image, &err);
        Py_END_ALLOW_THREADS
        a = image_array(st, &image, &err, file);
        Py_DECREF(path);
        return a;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_image_decode(view.buf, (size_t)view.len, "picture", &image, &err);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return image_array(st, &image, &err, NULL);
}

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
    {"image", load_image, METH_O, "image(path or bytes) -> uint8 [height, width, 3]"},
    {"tensor_error", tensor_error, METH_VARARGS, "tensor_error(got, want) -> dict"},
    {NULL, NULL, 0, NULL},
};

int core_add_ocr(PyObject *module) {
    PyObject *type = core_add_type(module, "Ocr", &ocr_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
