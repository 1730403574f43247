/* SPDX-License-Identifier: Apache-2.0
 *
 * Phrases to regions of pictures (pipelines/ground.h): features of pictures, answers, drawing, counting. */
#include <string.h>

#include "pipelines/ground.h"
#include "python/src/pipe.h"

/* ---- regions ---- */

/* Regions that lie in arrays; regions.features and .boxes belong to them. */
typedef struct Held {
    CoreTensor features, boxes;
    TnRegions regions;
} Held;

static void held_release(Held *h) {
    core_tensor_release(&h->features);
    core_tensor_release(&h->boxes);
}

/* features NULL: boxes alone, for drawing. */
static int held_take(PyObject *features, PyObject *boxes, double width, double height, Held *h) {
    memset(h, 0, sizeof *h);
    if (core_tensor_want(boxes, "boxes", TN_F32, 2, &h->boxes) != 0 ||
        (features != NULL && core_tensor_want(features, "features", TN_F32, 2, &h->features) != 0))
        return -1;
    const int64_t n = h->boxes.t.dims[0], w = features == NULL ? 0 : h->features.t.dims[1];
    if (h->boxes.t.dims[1] != 4 || n > TN_GROUND_MAX_REGIONS || (features != NULL && (h->features.t.dims[0] != n || w < 1 || w > 1 << 20 || n < 1))) {
        core_fail(TN_ERR_SHAPE, "features are an array float32 [n, width] and boxes float32 [n, 4], with 1 to %u regions n", TN_GROUND_MAX_REGIONS);
        return -1;
    }
    h->regions = (TnRegions){h->features.t.data, h->boxes.t.data, (uint32_t)n, (uint32_t)w, width, height};
    return 0;
}

/* (features f32 [n, width], boxes f32 [n, 4], width, height of the picture); frees r. */
static PyObject *regions_tuple(TnStatus st, TnRegions *r, const TnError *err, const char *file) {
    if (st != TN_OK)
        return core_raise(err, file);
    PyObject *f = core_array_of(TN_F32, 2, (int64_t[]){r->n, r->width}, r->features);
    PyObject *b = f == NULL ? NULL : core_array_of(TN_F32, 2, (int64_t[]){r->n, 4}, r->boxes);
    PyObject *result = b == NULL ? NULL : Py_BuildValue("OOdd", f, b, r->image_width, r->image_height);
    Py_XDECREF(f);
    Py_XDECREF(b);
    tn_regions_free(r);
    return result;
}

/* regions(path or bytes) -> (features, boxes, width, height) */
static PyObject *load_regions(PyObject *module, PyObject *arg) {
    TnRegions r = {0};
    TnError err = {0};
    TnStatus st;
    PyObject *path, *result;
    (void)module;
    if (PyUnicode_Check(arg)) {
        if (!PyUnicode_FSConverter(arg, &path))
            return NULL;
        const char *file = PyBytes_AsString(path);
        Py_BEGIN_ALLOW_THREADS
        st = tn_regions_load(file, &r, &err);
        Py_END_ALLOW_THREADS
        result = regions_tuple(st, &r, &err, file);
        Py_DECREF(path);
        return result;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_regions_decode(view.buf, (size_t)view.len, "regions", &r, &err);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return regions_tuple(st, &r, &err, NULL);
}

/* regions_check(features, boxes, width, height, clip, name): numbers and places; clip writes into boxes */
static PyObject *regions_check(PyObject *module, PyObject *args) {
    PyObject *features, *boxes;
    double width, height;
    int clip;
    const char *name;
    Held h;
    TnError err = {0};
    TnStatus st = TN_ERR_SHAPE;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOddps", &features, &boxes, &width, &height, &clip, &name))
        return NULL;
    if (held_take(features, boxes, width, height, &h) == 0) {
        if (clip && (!h.boxes.has_view || h.boxes.view.readonly))
            core_fail(TN_ERR_ARGUMENT, "boxes that are to be cut must be writable");
        else if ((st = tn_regions_check(&h.regions, clip != 0, name, &err)) != TN_OK)
            core_raise(&err, NULL);
    }
    held_release(&h);
    return st == TN_OK ? Py_NewRef(Py_None) : NULL;
}

typedef struct Features {
    PyObject_HEAD
    TnFeatures *f;
    bool busy;
} Features;

static PyObject *features_new(PyTypeObject *type, PyObject *args, PyObject *unused) {
    PyObject *path;
    TnError err = {0};
    TnStatus st;
    (void)unused;
    if (!PyArg_ParseTuple(args, "O&", PyUnicode_FSConverter, &path))
        return NULL;
    const char *file = PyBytes_AsString(path);
    Features *f = (Features *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (f != NULL) {
        Py_BEGIN_ALLOW_THREADS
        st = tn_features_open(file, &f->f, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK) {
            core_raise(&err, file);
            Py_DECREF(f);
            f = NULL;
        }
    }
    Py_DECREF(path);
    return (PyObject *)f;
}

static void features_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    tn_features_close(&((Features *)self)->f);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* get(id) -> (features, boxes, width, height) */
static PyObject *features_get(PyObject *self, PyObject *arg) {
    Features *f = (Features *)self;
    const char *id = PyUnicode_AsUTF8AndSize(arg, NULL);
    TnRegions r = {0};
    TnError err = {0};
    TnStatus st;
    if (id == NULL)
        return NULL;
    if (f->busy)
        return core_fail(TN_ERR_STATE, "the features are being read in another thread");
    f->busy = true;
    Py_BEGIN_ALLOW_THREADS
    st = tn_features_get(f->f, id, &r, &err);
    Py_END_ALLOW_THREADS
    f->busy = false;
    return regions_tuple(st, &r, &err, NULL);
}

static PyObject *features_only(PyObject *self, PyObject *unused) {
    (void)unused;
    return core_string(tn_features_only(((Features *)self)->f));
}

static PyMethodDef features_methods[] = {
    {"get", features_get, METH_O, "get(id) -> (features, boxes, width, height)"},
    {"only", features_only, METH_NOARGS, "only() -> id of the one picture, or None"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot features_slots[] = {
    {Py_tp_new, (void *)features_new},
    {Py_tp_dealloc, (void *)features_dealloc},
    {Py_tp_methods, features_methods},
    {Py_tp_doc, "Features(path): regions of many pictures."},
    {0, NULL},
};
static PyType_Spec features_spec = {"tenon._core.Features", sizeof(Features), 0, Py_TPFLAGS_DEFAULT, features_slots};

/* ---- answers ---- */

typedef struct Ground {
    CorePipe pipe;
    TnGround *g;
    TnWordPiece *vocabulary; /* NULL: the plan's */
} Ground;

static PyObject *ground_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "vocabulary", "threads", "batch", "tokens", "regions", "task", "beta", NULL};
    PyObject *plan, *path = Py_None, *file = NULL;
    TnGroundOptions o = tn_ground_options_default();
    int beta = 0;
    TnError err = {0};
    TnStatus st = TN_OK;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|OIIIIIp", names, core_plan_type, &plan, &path, &o.threads, &o.batch, &o.tokens, &o.regions,
                                     &o.task, &beta) ||
        (path != Py_None && !PyUnicode_FSConverter(path, &file)))
        return NULL;
    o.beta = beta != 0;
    const char *vocabulary = file == NULL ? NULL : PyBytes_AsString(file);
    Ground *g = core_pipe_new(type, plan);
    if (g != NULL) {
        Py_BEGIN_ALLOW_THREADS
        if (vocabulary != NULL)
            st = tn_wordpiece_load(vocabulary, &g->vocabulary, &err);
        if (st == TN_OK)
            st = tn_ground_create(g->pipe.plan->plan, g->vocabulary, &o, &g->g, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK) {
            core_raise(&err, g->vocabulary == NULL ? vocabulary : NULL);
            Py_DECREF(g);
            g = NULL;
        }
    }
    Py_XDECREF(file);
    return (PyObject *)g;
}

static void ground_dealloc(PyObject *self) {
    Ground *g = (Ground *)self;
    if (core_pipe_alive(&g->pipe)) {
        tn_ground_destroy(&g->g);
        tn_wordpiece_destroy(&g->vocabulary);
    }
    core_pipe_free(self);
}

/* sizes() -> (tokens, regions, width of a feature) */
static PyObject *ground_sizes(PyObject *self, PyObject *unused) {
    const TnGround *g = ((Ground *)self)->g;
    (void)unused;
    return Py_BuildValue("III", tn_ground_tokens(g), tn_ground_regions(g), tn_ground_width(g));
}

/* What n queries need while they run. */
typedef struct Asked {
    Held *held;
    TnGroundQuery *queries;
    TnGroundAnswer *answers;
    float (*truth)[4];
    bool *has_truth;
    uint32_t taken;
} Asked;

static void asked_release(Asked *a) {
    for (uint32_t i = 0; i < a->taken; i++)
        held_release(&a->held[i]);
    free(a->held);
    free(a->queries);
    free(a->answers);
    free(a->truth);
    free(a->has_truth);
}

/* From a list of (phrase, features, boxes, width, height, (x0, y0, x1, y1) or None). */
static int asked_take(PyObject *list, uint32_t n, Asked *a) {
    *a = (Asked){calloc(n, sizeof *a->held), calloc(n, sizeof *a->queries), calloc(n, sizeof *a->answers), calloc(n, sizeof *a->truth),
                 calloc(n, sizeof *a->has_truth), 0};
    if (a->held == NULL || a->queries == NULL || a->answers == NULL || a->truth == NULL || a->has_truth == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (a->taken < n) {
        uint32_t i = a->taken++;
        PyObject *features, *boxes, *truth;
        const char *phrase;
        double w, h;
        if (!PyArg_ParseTuple(PyList_GetItem(list, (Py_ssize_t)i), "sOOddO", &phrase, &features, &boxes, &w, &h, &truth) ||
            held_take(features, boxes, w, h, &a->held[i]) != 0)
            return -1;
        a->has_truth[i] = truth != Py_None;
        if (truth != Py_None && !PyArg_ParseTuple(truth, "ffff", &a->truth[i][0], &a->truth[i][1], &a->truth[i][2], &a->truth[i][3]))
            return -1;
        a->queries[i] = (TnGroundQuery){phrase, &a->held[i].regions};
    }
    return 0;
}

/* (logits f32 [rows], best, pieces, pieces cut, regions cut, iou or None, loss or None) */
static PyObject *answer_tuple(const Asked *a, uint32_t i) {
    const TnGroundAnswer *r = &a->answers[i];
    PyObject *logits = core_array_of(TN_F32, 1, (int64_t[]){r->rows}, r->logits), *iou = NULL, *loss = NULL;
    if (a->has_truth[i]) {
        TnGroundTotal total = {0};
        iou = PyFloat_FromDouble((double)tn_ground_count(&total, r, a->queries[i].regions, a->truth[i]));
        loss = PyFloat_FromDouble(total.loss);
    } else {
        iou = Py_NewRef(Py_None);
        loss = Py_NewRef(Py_None);
    }
    PyObject *row = logits == NULL || iou == NULL || loss == NULL
                        ? NULL
                        : Py_BuildValue("OIIIIOO", logits, r->best, r->pieces, r->pieces_cut, r->regions_cut, iou, loss);
    Py_XDECREF(logits);
    Py_XDECREF(iou);
    Py_XDECREF(loss);
    return row;
}

/* run([(phrase, features, boxes, width, height, truth or None)]) -> ([answer], preprocess ms, run ms) */
static PyObject *ground_run(PyObject *self, PyObject *list) {
    Ground *g = (Ground *)self;
    Asked a = {0};
    TnError err = {0};
    TnStatus st;
    PyObject *result = NULL;
    if (!core_pipe_ready(&g->pipe))
        return NULL;
    Py_ssize_t n = PyList_Check(list) ? PyList_Size(list) : -1;
    if (n < 1 || n > CORE_MAX_IMAGES)
        return core_fail(TN_ERR_ARGUMENT, "run takes a list of 1 to %d phrases", CORE_MAX_IMAGES);
    if (asked_take(list, (uint32_t)n, &a) == 0) {
        g->pipe.busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_ground_run(g->g, a.queries, (uint32_t)n, a.answers, &err);
        Py_END_ALLOW_THREADS
        PyObject *rows = st == TN_OK ? PyList_New(0) : core_raise(&err, NULL);
        for (uint32_t i = 0; rows != NULL && i < (uint32_t)n; i++)
            rows = core_list_append(rows, answer_tuple(&a, i));
        result = rows == NULL ? NULL : Py_BuildValue("Ndd", rows, tn_ground_preprocess_ms(g->g), tn_ground_run_ms(g->g));
        g->pipe.busy = false;
    }
    asked_release(&a);
    return result;
}

/* inputs((phrase, features, boxes, width, height, None)) -> (ids i64 [T], mask i64 [T], features f32 [R, W], spatials f32 [R, 5], image mask i64 [R]) */
static PyObject *ground_inputs(PyObject *self, PyObject *query) {
    Ground *g = (Ground *)self;
    PyObject *list, *a[5] = {0}, *result = NULL;
    Asked asked = {0};
    TnError err = {0};
    void *data[5];
    if (!core_pipe_ready(&g->pipe) || (list = PyList_New(0)) == NULL)
        return NULL;
    const int64_t t = tn_ground_tokens(g->g), r = tn_ground_regions(g->g), w = tn_ground_width(g->g);
    if (PyList_Append(list, query) == 0 && asked_take(list, 1, &asked) == 0 && (a[0] = core_array_new(TN_I64, 1, (int64_t[]){t}, false, &data[0])) &&
        (a[1] = core_array_new(TN_I64, 1, (int64_t[]){t}, false, &data[1])) && (a[2] = core_array_new(TN_F32, 2, (int64_t[]){r, w}, false, &data[2])) &&
        (a[3] = core_array_new(TN_F32, 2, (int64_t[]){r, 5}, false, &data[3])) && (a[4] = core_array_new(TN_I64, 1, (int64_t[]){r}, false, &data[4]))) {
        if (tn_ground_assemble(g->g, asked.queries, data[0], data[1], data[2], data[3], data[4], &err) != TN_OK)
            core_raise(&err, NULL);
        else
            result = Py_BuildValue("OOOOO", a[0], a[1], a[2], a[3], a[4]);
    }
    for (int i = 0; i < 5; i++)
        Py_XDECREF(a[i]);
    asked_release(&asked);
    Py_DECREF(list);
    return result;
}

static PyMethodDef ground_methods[] = {
    {"sizes", ground_sizes, METH_NOARGS, "sizes() -> (tokens, regions, width)"},
    {"run", ground_run, METH_O, "run([(phrase, features, boxes, width, height, truth or None)]) -> (answers, preprocess ms, run ms)"},
    {"inputs", ground_inputs, METH_O, "inputs(query) -> (ids, mask, features, spatials, image mask)"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot ground_slots[] = {
    {Py_tp_new, (void *)ground_new},
    {Py_tp_dealloc, (void *)ground_dealloc},
    {Py_tp_methods, ground_methods},
    {Py_tp_doc, "Ground(plan, vocabulary=None, threads=0, batch=0, tokens=0, regions=0, task=10, beta=False): regions that phrases mean."},
    {0, NULL},
};
static PyType_Spec ground_spec = {"tenon._core.Ground", sizeof(Ground), 0, Py_TPFLAGS_DEFAULT, ground_slots};

/* ---- phrases ---- */

/* phrases(path, split or None) -> [(text, image, (x0, y0, x1, y1) or None)] */
static PyObject *load_phrases(PyObject *module, PyObject *args) {
    PyObject *path, *list = NULL;
    const char *split;
    TnPhrases p = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "O&z", PyUnicode_FSConverter, &path, &split))
        return NULL;
    const char *file = PyBytes_AsString(path);
    Py_BEGIN_ALLOW_THREADS
    st = tn_phrases_load(file, split, &p, &err);
    Py_END_ALLOW_THREADS
    if (st != TN_OK)
        core_raise(&err, file);
    else
        list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < p.n; i++) {
        const TnPhrase *t = &p.items[i];
        PyObject *box = t->has_box ? Py_BuildValue("dddd", (double)t->box[0], (double)t->box[1], (double)t->box[2], (double)t->box[3]) : Py_NewRef(Py_None);
        list = core_list_append(list, box == NULL ? NULL : Py_BuildValue("NNN", core_string(t->text), core_string(t->image), box));
    }
    if (st == TN_OK)
        tn_phrases_free(&p);
    Py_DECREF(path);
    return list;
}

/* ---- drawing ---- */

typedef struct Drawn {
    Held *held;
    CoreTensor *logits;
    TnGroundAnswer *answers;
    TnGroundDrawing *items;
    uint32_t n, taken;
} Drawn;

static void drawn_release(Drawn *d) {
    for (uint32_t i = 0; i < d->taken; i++) {
        held_release(&d->held[i]);
        core_tensor_release(&d->logits[i]);
    }
    free(d->held);
    free(d->logits);
    free(d->answers);
    free(d->items);
}

/* From a list of (phrase, boxes, width, height, logits, best). */
static int drawn_take(PyObject *list, Drawn *d) {
    const size_t n = PyList_Check(list) ? (size_t)PyList_Size(list) : 0;
    *d = (Drawn){0};
    if (n < 1 || n > CORE_MAX_IMAGES) {
        core_fail(TN_ERR_ARGUMENT, "give a list of 1 to %d answers", CORE_MAX_IMAGES);
        return -1;
    }
    *d = (Drawn){calloc(n, sizeof *d->held), calloc(n, sizeof *d->logits), calloc(n, sizeof *d->answers), calloc(n, sizeof *d->items), (uint32_t)n, 0};
    if (d->held == NULL || d->logits == NULL || d->answers == NULL || d->items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (d->taken < d->n) {
        uint32_t i = d->taken++, best;
        PyObject *boxes, *logits;
        const char *phrase;
        double w, h;
        if (!PyArg_ParseTuple(PyList_GetItem(list, (Py_ssize_t)i), "sOddOI", &phrase, &boxes, &w, &h, &logits, &best) ||
            held_take(NULL, boxes, w, h, &d->held[i]) != 0 || core_tensor_want(logits, "logits", TN_F32, 1, &d->logits[i]) != 0)
            return -1;
        const int64_t rows = d->logits[i].t.dims[0];
        if (rows < 1 || rows > (int64_t)d->held[i].regions.n + 1 || best >= rows) {
            core_fail(TN_ERR_SHAPE, "answer %u: logits are of the whole picture and its regions, and 'best' is a row of them", i);
            return -1;
        }
        d->answers[i] = (TnGroundAnswer){.logits = d->logits[i].t.data, .rows = (uint32_t)rows, .best = best};
        d->items[i] = (TnGroundDrawing){phrase, &d->held[i].regions, &d->answers[i]};
    }
    return 0;
}

/* ground_draw(array, answers) -> array */
static PyObject *ground_draw(PyObject *module, PyObject *args) {
    PyObject *array, *list, *result = NULL;
    CoreTensor t = {0};
    TnImage image, drawn = {0};
    Drawn d = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &array, &list))
        return NULL;
    if (core_image_take(array, &t, &image) == 0 && drawn_take(list, &d) == 0) {
        Py_BEGIN_ALLOW_THREADS
        st = tn_ground_draw(&image, d.items, d.n, &drawn, &err);
        Py_END_ALLOW_THREADS
        result = core_image_array(st, &drawn, &err, NULL);
    }
    drawn_release(&d);
    core_tensor_release(&t);
    return result;
}

/* ground_html(array, answers, top, title, path) */
static PyObject *ground_html(PyObject *module, PyObject *args) {
    PyObject *array, *list, *path;
    unsigned top;
    const char *title;
    CoreTensor t = {0};
    TnImage image;
    Drawn d = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOIsO&", &array, &list, &top, &title, PyUnicode_FSConverter, &path))
        return NULL;
    if (top < 1 || top > 32) {
        core_fail(TN_ERR_ARGUMENT, "top is %u; 1 to 32 are possible", top);
    } else if (core_image_take(array, &t, &image) == 0 && drawn_take(list, &d) == 0) {
        const char *file = PyBytes_AsString(path);
        Py_BEGIN_ALLOW_THREADS
        st = tn_ground_save_html(&image, d.items, d.n, top, title, file, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK)
            core_raise(&err, file);
    }
    drawn_release(&d);
    core_tensor_release(&t);
    Py_DECREF(path);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"regions", load_regions, METH_O, "regions(path or bytes) -> (features, boxes, width, height)"},
    {"regions_check", regions_check, METH_VARARGS, "regions_check(features, boxes, width, height, clip, name)"},
    {"phrases", load_phrases, METH_VARARGS, "phrases(path, split or None) -> [(text, image, box or None)]"},
    {"ground_draw", ground_draw, METH_VARARGS, "ground_draw(array, answers) -> array"},
    {"ground_html", ground_html, METH_VARARGS, "ground_html(array, answers, top, title, path)"},
    {NULL, NULL, 0, NULL},
};

int core_add_ground(PyObject *module) {
    PyObject *type = core_add_type(module, "Features", &features_spec);
    Py_XDECREF(type);
    if (type == NULL)
        return -1;
    type = core_add_type(module, "Ground", &ground_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
