/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects on pictures (pipelines/detect.h), drawing them, and COCO's scores (pipelines/coco.h). */
#include <string.h>

#include "pipelines/coco.h"
#include "pipelines/detect.h"
#include "python/src/pipe.h"

typedef struct Detector {
    CorePipe pipe;
    TnDetector *d;
} Detector;

static PyObject *detector_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "threads", "long_side", "short_side", "min_score", NULL};
    PyObject *plan;
    TnDetectOptions o = tn_detect_options_default();
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|IIIf", names, core_plan_type, &plan, &o.threads, &o.long_side, &o.short_side, &o.min_score))
        return NULL;
    Detector *d = core_pipe_new(type, plan);
    if (d == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_detector_create(d->pipe.plan->plan, &o, &d->d, &err);
    Py_END_ALLOW_THREADS
    if (st == TN_OK)
        return (PyObject *)d;
    Py_DECREF(d);
    return core_raise(&err, NULL);
}

static void detector_dealloc(PyObject *self) {
    Detector *d = (Detector *)self;
    if (core_pipe_alive(&d->pipe))
        tn_detector_destroy(&d->d);
    core_pipe_free(self);
}

static PyObject *detector_read_labels(PyObject *self, PyObject *arg) {
    Detector *d = (Detector *)self;
    PyObject *path;
    TnError err = {0};
    if (!core_pipe_ready(&d->pipe) || !PyUnicode_FSConverter(arg, &path))
        return NULL;
    TnStatus st = tn_detector_read_labels(d->d, PyBytes_AsString(path), &err);
    if (st != TN_OK)
        core_raise(&err, PyBytes_AsString(path));
    Py_DECREF(path);
    return st == TN_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *detector_label(PyObject *self, PyObject *arg) {
    unsigned long i = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred())
        return NULL;
    return core_string(i < UINT32_MAX ? tn_detector_label(((Detector *)self)->d, (uint32_t)i) : NULL);
}

/* kind() -> (has masks, labels are category numbers) */
static PyObject *detector_kind(PyObject *self, PyObject *unused) {
    const Detector *d = (Detector *)self;
    (void)unused;
    return Py_BuildValue("NN", PyBool_FromLong(tn_detector_has_masks(d->d)), PyBool_FromLong(tn_detector_labels_are_ids(d->d)));
}

/* A mask's runs as text, None without one. */
static PyObject *runs_of(const TnRle *rle) {
    if (rle->counts == NULL)
        return Py_NewRef(Py_None);
    char *text = tn_rle_to_text(rle);
    PyObject *o = text == NULL ? PyErr_NoMemory() : PyUnicode_FromString(text);
    free(text);
    return o;
}

/* (boxes f32 [n, 4], scores f32 [n], labels i64 [n], [name or None], [runs or None]) */
static PyObject *found_tuple(const TnDetections *f) {
    void *boxes, *scores, *labels;
    PyObject *b = core_array_new(TN_F32, 2, (int64_t[]){f->n, 4}, false, &boxes), *s = NULL, *l = NULL, *names = PyList_New(0), *masks = PyList_New(0);
    if (b != NULL)
        s = core_array_new(TN_F32, 1, (int64_t[]){f->n}, false, &scores);
    if (s != NULL)
        l = core_array_new(TN_I64, 1, (int64_t[]){f->n}, false, &labels);
    for (uint32_t i = 0; l != NULL && names != NULL && masks != NULL && i < f->n; i++) {
        const TnDetection *d = &f->items[i];
        memcpy((float *)boxes + (size_t)i * 4, d->box, sizeof d->box);
        ((float *)scores)[i] = d->score;
        ((int64_t *)labels)[i] = d->label;
        names = core_list_append(names, core_string(d->name));
        masks = names == NULL ? masks : core_list_append(masks, runs_of(&d->mask));
    }
    PyObject *result = l == NULL || names == NULL || masks == NULL ? NULL : Py_BuildValue("OOOOO", b, s, l, names, masks);
    Py_XDECREF(b);
    Py_XDECREF(s);
    Py_XDECREF(l);
    Py_XDECREF(names);
    Py_XDECREF(masks);
    return result;
}

/* run(array) -> (found, preprocess ms, run ms, postprocess ms) */
static PyObject *detector_run(PyObject *self, PyObject *arg) {
    Detector *d = (Detector *)self;
    CoreTensor t = {0};
    TnImage image;
    TnDetections found = {0};
    TnError err = {0};
    TnStatus st;
    PyObject *result = NULL;
    if (!core_pipe_ready(&d->pipe))
        return NULL;
    if (core_image_take(arg, &t, &image) == 0) {
        d->pipe.busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_detector_run(d->d, &image, &found, &err);
        Py_END_ALLOW_THREADS
        PyObject *tuple = st == TN_OK ? found_tuple(&found) : core_raise(&err, NULL);
        d->pipe.busy = false;
        result = tuple == NULL ? NULL : Py_BuildValue("Nddd", tuple, found.preprocess_ms, found.run_ms, found.postprocess_ms);
    }
    core_tensor_release(&t);
    return result;
}

/* preprocess(array) -> (float32 [3, height, width], (scale of the width, of the height)) */
static PyObject *detector_preprocess(PyObject *self, PyObject *arg) {
    Detector *d = (Detector *)self;
    CoreTensor t = {0};
    TnImage image;
    TnError err = {0};
    const float *planes;
    uint32_t w, h;
    float scale[2];
    PyObject *result = NULL;
    if (!core_pipe_ready(&d->pipe))
        return NULL;
    if (core_image_take(arg, &t, &image) == 0) {
        if (tn_detector_preprocess(d->d, &image, &planes, &w, &h, scale, &err) != TN_OK)
            core_raise(&err, NULL);
        else if ((result = core_array_of(TN_F32, 3, (int64_t[]){3, h, w}, planes)) != NULL)
            result = Py_BuildValue("N(dd)", result, (double)scale[0], (double)scale[1]);
    }
    core_tensor_release(&t);
    return result;
}

static PyMethodDef detector_methods[] = {
    {"read_labels", detector_read_labels, METH_O, "read_labels(path or 'coco')"},
    {"label", detector_label, METH_O, "label(number) -> name or None"},
    {"kind", detector_kind, METH_NOARGS, "kind() -> (has masks, labels are category numbers)"},
    {"run", detector_run, METH_O, "run(array) -> ((boxes, scores, labels, names, runs), preprocess ms, run ms, postprocess ms)"},
    {"preprocess", detector_preprocess, METH_O, "preprocess(array) -> (float32 [3, height, width], scale)"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot detector_slots[] = {
    {Py_tp_new, (void *)detector_new},
    {Py_tp_dealloc, (void *)detector_dealloc},
    {Py_tp_methods, detector_methods},
    {Py_tp_doc, "Detector(plan, threads=0, long_side=0, short_side=0, min_score=0): objects on pictures."},
    {0, NULL},
};
static PyType_Spec detector_spec = {"tenon._core.Detector", sizeof(Detector), 0, Py_TPFLAGS_DEFAULT, detector_slots};

/* ---- drawing ---- */

/* What found_tuple gave, back from Python. Names live in their tuple. */
typedef struct Found {
    CoreTensor boxes, scores, labels;
    TnDetections f;
} Found;

static void found_release(Found *o) {
    for (uint32_t i = 0; i < o->f.n; i++)
        tn_rle_free(&o->f.items[i].mask);
    free(o->f.items);
    core_tensor_release(&o->boxes);
    core_tensor_release(&o->scores);
    core_tensor_release(&o->labels);
}

static int found_take(PyObject *tuple, const TnImage *image, Found *o) {
    PyObject *boxes, *scores, *labels, *names, *runs;
    TnError err = {0};
    memset(o, 0, sizeof *o);
    if (!PyArg_ParseTuple(tuple, "OOOO!O!", &boxes, &scores, &labels, &PyList_Type, &names, &PyList_Type, &runs))
        return -1;
    if (core_tensor_want(boxes, "boxes", TN_F32, 2, &o->boxes) != 0 || core_tensor_want(scores, "scores", TN_F32, 1, &o->scores) != 0 ||
        core_tensor_want(labels, "labels", TN_I64, 1, &o->labels) != 0)
        return -1;
    const int64_t n = o->scores.t.dims[0];
    if (o->boxes.t.dims[0] != n || o->boxes.t.dims[1] != 4 || o->labels.t.dims[0] != n || PyList_Size(names) != n || PyList_Size(runs) != n || n > 1 << 20) {
        core_fail(TN_ERR_SHAPE, "boxes [n, 4], scores [n], labels [n], names and masks must be of one number n");
        return -1;
    }
    if ((o->f.items = calloc((size_t)n + 1, sizeof *o->f.items)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    o->f.width = image->width;
    o->f.height = image->height;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)n; i++) {
        TnDetection *d = &o->f.items[o->f.n++];
        PyObject *name = PyList_GetItem(names, i), *mask = PyList_GetItem(runs, i);
        Py_ssize_t bytes;
        memcpy(d->box, (float *)o->boxes.t.data + i * 4, sizeof d->box);
        d->score = ((float *)o->scores.t.data)[i];
        d->label = (uint32_t)((int64_t *)o->labels.t.data)[i];
        if (name != Py_None && (d->name = PyUnicode_AsUTF8AndSize(name, NULL)) == NULL)
            return -1;
        const char *text = mask == Py_None ? NULL : PyUnicode_AsUTF8AndSize(mask, &bytes);
        if (mask != Py_None && text == NULL)
            return -1;
        if (text != NULL && tn_rle_from_text(text, (size_t)bytes, image->height, image->width, &d->mask, &err) != TN_OK) {
            core_raise(&err, NULL);
            return -1;
        }
    }
    return 0;
}

/* detect_draw(array, found) -> array */
static PyObject *detect_draw(PyObject *module, PyObject *args) {
    PyObject *array, *tuple, *result = NULL;
    CoreTensor t = {0};
    TnImage image, drawn = {0};
    Found found = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &array, &PyTuple_Type, &tuple))
        return NULL;
    if (core_image_take(array, &t, &image) == 0 && found_take(tuple, &image, &found) == 0) {
        Py_BEGIN_ALLOW_THREADS
        st = tn_detect_draw(&image, &found.f, &drawn, &err);
        Py_END_ALLOW_THREADS
        result = core_image_array(st, &drawn, &err, NULL);
    }
    found_release(&found);
    core_tensor_release(&t);
    return result;
}

/* detect_html([(array, found, title, preprocess ms, run ms, postprocess ms)], title, path) */
static PyObject *detect_html(PyObject *module, PyObject *args) {
    PyObject *list, *path, *array, *tuple;
    const char *title, *heading;
    TnDetectPage page = {0};
    TnError err = {0};
    TnStatus st = TN_OK;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!sO&", &PyList_Type, &list, &title, PyUnicode_FSConverter, &path))
        return NULL;
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < PyList_Size(list); i++) {
        CoreTensor t = {0};
        TnImage image;
        Found found = {0};
        double ms[3];
        if (PyArg_ParseTuple(PyList_GetItem(list, i), "OO!sddd", &array, &PyTuple_Type, &tuple, &heading, &ms[0], &ms[1], &ms[2]) &&
            core_image_take(array, &t, &image) == 0 && found_take(tuple, &image, &found) == 0) {
            found.f.preprocess_ms = ms[0];
            found.f.run_ms = ms[1];
            found.f.postprocess_ms = ms[2];
            Py_BEGIN_ALLOW_THREADS
            st = tn_detect_page_add(&page, &image, &found.f, heading, &err);
            Py_END_ALLOW_THREADS
            if (st != TN_OK)
                core_raise(&err, NULL);
        }
        found_release(&found);
        core_tensor_release(&t);
    }
    if (!PyErr_Occurred() && tn_detect_page_save(&page, title, PyBytes_AsString(path), &err) != TN_OK)
        core_raise(&err, PyBytes_AsString(path));
    tn_detect_page_free(&page);
    Py_DECREF(path);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- scores ---- */

static PyObject *numbers_dict(const TnCocoScore *s) {
    PyObject *d = PyDict_New();
    for (int i = 0; d != NULL && i < TN_COCO_NUMBERS; i++) {
        PyObject *v = PyFloat_FromDouble(s->numbers[i]);
        if (v == NULL || PyDict_SetItemString(d, tn_coco_number_names[i], v) != 0)
            Py_CLEAR(d);
        Py_XDECREF(v);
    }
    return d;
}

static PyObject *coco_dict(const TnCoco *coco, const TnCocoResults *results, const TnCocoScore *boxes, const TnCocoScore *masks) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < tn_coco_category_count(coco); i++) {
        const TnCocoCategory *c = tn_coco_category(coco, i);
        PyObject *mask_ap = masks == NULL ? Py_NewRef(Py_None) : PyFloat_FromDouble(masks->category_ap[i]);
        list = core_list_append(list, mask_ap == NULL ? NULL : Py_BuildValue("LNdN", (long long)c->id, core_string(c->name), boxes->category_ap[i], mask_ap));
    }
    PyObject *b = numbers_dict(boxes), *m = masks == NULL ? Py_NewRef(Py_None) : numbers_dict(masks);
    PyObject *d = list == NULL || b == NULL || m == NULL
                      ? NULL
                      : Py_BuildValue("{s:I,s:I,s:I,s:I,s:I,s:O,s:O,s:O}", "images", tn_coco_image_count(coco), "annotations", tn_coco_annotation_count(coco),
                                      "detections", tn_coco_results_count(results), "annotations_left_out", tn_coco_left_out(coco),
                                      "detections_left_out", tn_coco_results_left_out(results), "boxes", b, "masks", m, "categories", list);
    Py_XDECREF(list);
    Py_XDECREF(b);
    Py_XDECREF(m);
    return d;
}

/* Marks the images of a list of ids; -1 with an exception. */
static int mark(const TnCoco *coco, PyObject *ids, bool *marked) {
    for (Py_ssize_t i = 0; i < PyList_Size(ids); i++) {
        long long id = PyLong_AsLongLong(PyList_GetItem(ids, i));
        if (PyErr_Occurred())
            return -1;
        uint32_t at = tn_coco_find_image(coco, id);
        if (at == UINT32_MAX) {
            core_fail(TN_ERR_DATA, "the annotations have no image with the id %lld", id);
            return -1;
        }
        marked[at] = true;
    }
    return 0;
}

/* coco_score(annotations, name, results, name, [image id] or None) -> dict; annotations and results are JSON as bytes */
static PyObject *coco_score(PyObject *module, PyObject *args) {
    Py_buffer truth, found;
    const char *truth_name, *found_name;
    PyObject *ids, *result = NULL;
    TnCoco *coco = NULL;
    TnCocoResults *results = NULL;
    TnCocoScore boxes = {0}, masks = {0};
    TnError err = {0};
    TnStatus st;
    bool *marked = NULL, with_masks = false;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*sy*sO", &truth, &truth_name, &found, &found_name, &ids))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_coco_decode(truth.buf, (size_t)truth.len, truth_name, &coco, &err);
    if (st == TN_OK)
        st = tn_coco_results_create(coco, &results, &err);
    if (st == TN_OK)
        st = tn_coco_results_decode(results, found.buf, (size_t)found.len, found_name, &err);
    Py_END_ALLOW_THREADS
    if (st == TN_OK && PyList_Check(ids)) {
        marked = calloc(tn_coco_image_count(coco) + 1u, sizeof *marked);
        if (marked == NULL)
            PyErr_NoMemory();
        else
            mark(coco, ids, marked);
    }
    if (st == TN_OK && !PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        with_masks = tn_coco_results_have_masks(results) && tn_coco_has_masks(coco);
        st = tn_coco_score(coco, results, TN_COCO_BOX, marked, &boxes, &err);
        if (st == TN_OK && with_masks)
            st = tn_coco_score(coco, results, TN_COCO_MASK, marked, &masks, &err);
        Py_END_ALLOW_THREADS
        if (st == TN_OK)
            result = coco_dict(coco, results, &boxes, with_masks ? &masks : NULL);
    }
    if (st != TN_OK)
        core_raise(&err, NULL);
    tn_coco_score_free(&boxes);
    tn_coco_score_free(&masks);
    tn_coco_results_destroy(&results);
    tn_coco_destroy(&coco);
    free(marked);
    PyBuffer_Release(&truth);
    PyBuffer_Release(&found);
    return result;
}

static PyMethodDef functions[] = {
    {"detect_draw", detect_draw, METH_VARARGS, "detect_draw(array, found) -> array"},
    {"detect_html", detect_html, METH_VARARGS, "detect_html(pictures, title, path)"},
    {"coco_score", coco_score, METH_VARARGS, "coco_score(annotations, name, results, name, ids or None) -> dict"},
    {NULL, NULL, 0, NULL},
};

int core_add_detect(PyObject *module) {
    PyObject *type = core_add_type(module, "Detector", &detector_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
