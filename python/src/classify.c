/* SPDX-License-Identifier: Apache-2.0
 *
 * Classes of pictures (pipelines/classify.h). */
#include "pipelines/classify.h"
#include "python/src/pipe.h"

typedef struct Classifier {
    CorePipe pipe;
    TnClassifier *c;
} Classifier;

static PyObject *classifier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "threads", NULL};
    PyObject *plan;
    unsigned threads = 0;
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|I", names, core_plan_type, &plan, &threads))
        return NULL;
    Classifier *c = core_pipe_new(type, plan);
    if (c == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_classifier_create(c->pipe.plan->plan, threads, &c->c, &err);
    Py_END_ALLOW_THREADS
    if (st == TN_OK)
        return (PyObject *)c;
    Py_DECREF(c);
    return core_raise(&err, NULL);
}

static void classifier_dealloc(PyObject *self) {
    Classifier *c = (Classifier *)self;
    if (core_pipe_alive(&c->pipe))
        tn_classifier_destroy(&c->c);
    core_pipe_free(self);
}

static PyObject *classifier_read_labels(PyObject *self, PyObject *arg) {
    Classifier *c = (Classifier *)self;
    PyObject *path;
    TnError err = {0};
    if (!core_pipe_ready(&c->pipe) || !PyUnicode_FSConverter(arg, &path))
        return NULL;
    TnStatus st = tn_classifier_read_labels(c->c, PyBytes_AsString(path), &err);
    if (st != TN_OK)
        core_raise(&err, PyBytes_AsString(path));
    Py_DECREF(path);
    return st == TN_OK ? Py_NewRef(Py_None) : NULL;
}

/* labels() -> [name or None], one a class */
static PyObject *classifier_labels(PyObject *self, PyObject *unused) {
    const Classifier *c = (Classifier *)self;
    PyObject *list = PyList_New(0);
    (void)unused;
    for (uint32_t i = 0; list != NULL && i < tn_classifier_classes(c->c); i++)
        list = core_list_append(list, core_string(tn_classifier_label(c->c, i)));
    return list;
}

/* size() -> (width, height) */
static PyObject *classifier_size(PyObject *self, PyObject *unused) {
    uint32_t w, h;
    (void)unused;
    tn_classifier_size(((Classifier *)self)->c, &w, &h);
    return Py_BuildValue("II", w, h);
}

static PyObject *scores(const TnClassScore *top, uint32_t n, uint32_t k, const TnClassifyTimes *times) {
    PyObject *rows = PyList_New(0);
    for (uint32_t i = 0; rows != NULL && i < n; i++) {
        PyObject *row = PyList_New(0);
        for (uint32_t j = 0; row != NULL && j < k; j++) {
            const TnClassScore *s = &top[(size_t)i * k + j];
            row = core_list_append(row, Py_BuildValue("IdN", s->index, (double)s->probability, core_string(s->label)));
        }
        rows = core_list_append(rows, row);
    }
    return rows == NULL ? NULL : Py_BuildValue("Ndd", rows, times->preprocess_ms, times->run_ms);
}

/* run([array], k) -> ([[(class, probability, label or None)] of each picture], preprocess ms, run ms) */
static PyObject *classifier_run(PyObject *self, PyObject *args) {
    Classifier *c = (Classifier *)self;
    PyObject *list, *result = NULL;
    unsigned k;
    CoreImages images;
    TnClassifyTimes times = {0, 0};
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTuple(args, "OI", &list, &k) || !core_pipe_ready(&c->pipe))
        return NULL;
    if (k < 1 || k > tn_classifier_classes(c->c))
        return core_fail(TN_ERR_ARGUMENT, "top is %u; 1 to %u are possible", k, tn_classifier_classes(c->c));
    if (core_images_take(list, &images) == 0) {
        TnClassScore *top = calloc((size_t)images.n * k, sizeof *top);
        if (top == NULL) {
            PyErr_NoMemory();
        } else {
            c->pipe.busy = true;
            Py_BEGIN_ALLOW_THREADS
            st = tn_classifier_run(c->c, images.items, images.n, k, top, &times, &err);
            Py_END_ALLOW_THREADS
            c->pipe.busy = false;
            result = st == TN_OK ? scores(top, images.n, k, &times) : core_raise(&err, NULL);
        }
        free(top);
    }
    core_images_release(&images);
    return result;
}

/* preprocess(array) -> float32 [3, height, width] */
static PyObject *classifier_preprocess(PyObject *self, PyObject *arg) {
    const Classifier *c = (Classifier *)self;
    CoreTensor t = {0};
    TnImage image;
    TnError err = {0};
    uint32_t w, h;
    void *data;
    PyObject *a = NULL;
    tn_classifier_size(c->c, &w, &h);
    if (core_image_take(arg, &t, &image) == 0 && (a = core_array_new(TN_F32, 3, (int64_t[]){3, h, w}, false, &data)) != NULL &&
        tn_classifier_preprocess(c->c, &image, data, &err) != TN_OK) {
        Py_CLEAR(a);
        core_raise(&err, NULL);
    }
    core_tensor_release(&t);
    return a;
}

static PyMethodDef classifier_methods[] = {
    {"read_labels", classifier_read_labels, METH_O, "read_labels(path)"},
    {"labels", classifier_labels, METH_NOARGS, "labels() -> [name or None]"},
    {"size", classifier_size, METH_NOARGS, "size() -> (width, height)"},
    {"run", classifier_run, METH_VARARGS, "run([array], k) -> (rows, preprocess ms, run ms)"},
    {"preprocess", classifier_preprocess, METH_O, "preprocess(array) -> float32 [3, height, width]"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot classifier_slots[] = {
    {Py_tp_new, (void *)classifier_new},
    {Py_tp_dealloc, (void *)classifier_dealloc},
    {Py_tp_methods, classifier_methods},
    {Py_tp_doc, "Classifier(plan, threads=0): classes of pictures."},
    {0, NULL},
};
static PyType_Spec classifier_spec = {"tenon._core.Classifier", sizeof(Classifier), 0, Py_TPFLAGS_DEFAULT, classifier_slots};

int core_add_classify(PyObject *module) {
    PyObject *type = core_add_type(module, "Classifier", &classifier_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}
