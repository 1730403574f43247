/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms (pipelines/doc.h): words and a picture to entities; drawing and counting them. */
#include <string.h>

#include "pipelines/doc.h"
#include "python/src/pipe.h"

typedef struct Doc {
    CorePipe pipe;
    TnDoc *doc;
    TnBpe *tokenizer; /* NULL: the plan's */
} Doc;

static PyObject *doc_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "tokenizer", "threads", "batch", "overlap", "word_boxes", "clip", NULL};
    PyObject *plan, *path = Py_None, *folder = NULL;
    TnDocOptions o = tn_doc_options_default();
    int word_boxes = 0, clip = 0;
    TnError err = {0};
    TnStatus st = TN_OK;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|OIIIpp", names, core_plan_type, &plan, &path, &o.threads, &o.batch, &o.overlap, &word_boxes, &clip) ||
        (path != Py_None && !PyUnicode_FSConverter(path, &folder)))
        return NULL;
    o.word_boxes = word_boxes != 0;
    o.clip = clip != 0;
    const char *dir = folder == NULL ? NULL : PyBytes_AsString(folder);
    Doc *d = core_pipe_new(type, plan);
    if (d != NULL) {
        Py_BEGIN_ALLOW_THREADS
        if (dir != NULL)
            st = tn_bpe_load(dir, &d->tokenizer, &err);
        if (st == TN_OK)
            st = tn_doc_create(d->pipe.plan->plan, d->tokenizer, &o, &d->doc, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK) {
            core_raise(&err, d->tokenizer == NULL ? dir : NULL);
            Py_DECREF(d);
            d = NULL;
        }
    }
    Py_XDECREF(folder);
    return (PyObject *)d;
}

static void doc_dealloc(PyObject *self) {
    Doc *d = (Doc *)self;
    if (core_pipe_alive(&d->pipe)) {
        tn_doc_destroy(&d->doc);
        tn_bpe_destroy(&d->tokenizer);
    }
    core_pipe_free(self);
}

/* ---- words ---- */

/* From a list of (text, (x0, y0, x1, y1), segment, label or None); release with tn_doc_page_free in any case. */
static int page_take(PyObject *list, TnDocPage *page) {
    TnError err = {0};
    *page = (TnDocPage){0};
    if (!PyList_Check(list)) {
        core_fail(TN_ERR_TYPE, "words are a list");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        const char *text, *label;
        int box[4];
        unsigned segment;
        PyObject *item = PyList_GetItem(list, i);
        if (!PyTuple_Check(item)) {
            core_fail(TN_ERR_TYPE, "word %zd is no tuple", i);
            return -1;
        }
        if (!PyArg_ParseTuple(item, "s(iiii)Iz", &text, &box[0], &box[1], &box[2], &box[3], &segment, &label))
            return -1;
        if (tn_doc_page_add(page, text, (int32_t[]){box[0], box[1], box[2], box[3]}, segment, label, &err) != TN_OK) {
            core_raise(&err, NULL);
            return -1;
        }
    }
    return 0;
}

static PyObject *page_list(const TnDocPage *page) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < page->n; i++) {
        const TnDocWord *w = &page->words[i];
        list = core_list_append(list, Py_BuildValue("N(iiii)IN", core_string(w->text), w->box[0], w->box[1], w->box[2], w->box[3],
                                                    w->segment, core_string(w->label)));
    }
    return list == NULL ? NULL : Py_BuildValue("NI", list, page->n_blank);
}

/* doc_words(path, bytes or list of words) -> ([(text, box, segment, label or None)], blank words that were left out) */
static PyObject *doc_words(PyObject *module, PyObject *arg) {
    TnDocPage page = {0};
    TnError err = {0};
    TnStatus st = TN_OK;
    PyObject *path = NULL, *result = NULL;
    (void)module;
    if (PyList_Check(arg)) {
        result = page_take(arg, &page) == 0 ? page_list(&page) : NULL;
        tn_doc_page_free(&page);
        return result;
    }
    if (PyUnicode_Check(arg)) {
        if (!PyUnicode_FSConverter(arg, &path))
            return NULL;
        const char *file = PyBytes_AsString(path);
        Py_BEGIN_ALLOW_THREADS
        st = tn_doc_page_load(file, &page, &err);
        Py_END_ALLOW_THREADS
        result = st == TN_OK ? page_list(&page) : core_raise(&err, file);
        Py_DECREF(path);
    } else {
        Py_buffer view;
        if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) != 0)
            return NULL;
        Py_BEGIN_ALLOW_THREADS
        st = tn_doc_page_decode(view.buf, (size_t)view.len, "words", &page, &err);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&view);
        result = st == TN_OK ? page_list(&page) : core_raise(&err, NULL);
    }
    if (st == TN_OK)
        tn_doc_page_free(&page);
    return result;
}

/* ---- reading ---- */

static PyObject *question_of(const TnDocEntity *e) {
    return e->question == TN_DOC_NONE ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(e->question);
}

static PyObject *entity_list(const TnDocResult *r) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < r->n; i++) {
        const TnDocEntity *e = &r->entities[i];
        PyObject *question = question_of(e);
        list = core_list_append(list, question == NULL ? NULL
                                                       : Py_BuildValue("NNd(iiii)IIIN", core_string(e->label), core_string(e->text), (double)e->score, e->box[0], e->box[1], e->box[2],
                                                                       e->box[3], e->first, e->n, e->order, question));
    }
    return list;
}

static PyObject *score_list(const TnDocScore *s) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < s->n_types; i++)
        list = core_list_append(list, Py_BuildValue("NKKK", core_string(s->type[i].name), (unsigned long long)s->type[i].right,
                                                    (unsigned long long)s->type[i].predicted,
                                                    (unsigned long long)s->type[i].expected));
    return list;
}

/* (entities, label ids i32 [words], probabilities f32 [words], windows, tokens, preprocess ms, run ms, counts); takes counts over, NULL is an error */
static PyObject *page_answer(const TnDocResult *r, uint32_t words, PyObject *counts) {
    PyObject *result = NULL, *list = counts == NULL ? NULL : entity_list(r);
    PyObject *ids = list == NULL ? NULL : core_array_of(TN_I32, 1, (int64_t[]){words}, r->labels);
    PyObject *probs = ids == NULL ? NULL : core_array_of(TN_F32, 1, (int64_t[]){words}, r->scores);
    if (probs != NULL)
        result = Py_BuildValue("OOOIIddO", list, ids, probs, r->windows, r->tokens, r->preprocess_ms, r->run_ms, counts);
    Py_XDECREF(list);
    Py_XDECREF(ids);
    Py_XDECREF(probs);
    Py_XDECREF(counts);
    return result;
}

/* read(array, words, score) -> (entities, label ids i32 [words], probabilities f32 [words], windows, tokens, preprocess ms, run ms, counts or None) */
static PyObject *doc_read(PyObject *self, PyObject *args) {
    Doc *d = (Doc *)self;
    PyObject *array, *words, *result = NULL;
    int score;
    CoreTensor t = {0};
    TnImage image;
    TnDocPage page = {0};
    TnDocResult r = {0};
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTuple(args, "OOp", &array, &words, &score) || !core_pipe_ready(&d->pipe))
        return NULL;
    TnDocScore *counts = calloc(1, sizeof *counts);
    if (counts == NULL)
        return PyErr_NoMemory();
    if (core_image_take(array, &t, &image) == 0 && page_take(words, &page) == 0) {
        d->pipe.busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = score ? tn_doc_score_page(d->doc, &image, &page, counts, &r, &err) : tn_doc_read(d->doc, &image, &page, &r, &err);
        Py_END_ALLOW_THREADS
        if (st == TN_OK)
            result = page_answer(&r, page.n, score ? score_list(counts) : Py_NewRef(Py_None));
        else
            core_raise(&err, NULL);
        d->pipe.busy = false;
    }
    free(counts);
    tn_doc_page_free(&page);
    core_tensor_release(&t);
    return result;
}

/* read_many([array], [words]) -> [what read() returns] */
static PyObject *doc_read_many(PyObject *self, PyObject *args) {
    Doc *d = (Doc *)self;
    PyObject *arrays, *words, *list = NULL;
    CoreImages images;
    TnError err = {0};
    TnStatus st;
    if (!PyArg_ParseTuple(args, "OO!", &arrays, &PyList_Type, &words) || !core_pipe_ready(&d->pipe))
        return NULL;
    int taken = core_images_take(arrays, &images);
    TnDocPage *pages = calloc((size_t)images.n + 1, sizeof *pages);
    TnDocResult *results = calloc((size_t)images.n + 1, sizeof *results);
    if (taken == 0 && (pages == NULL || results == NULL)) {
        PyErr_NoMemory();
        taken = -1;
    }
    if (taken == 0 && PyList_Size(words) != (Py_ssize_t)images.n) {
        core_fail(TN_ERR_ARGUMENT, "%u pictures need a list of as many pages' words", images.n);
        taken = -1;
    }
    for (uint32_t i = 0; taken == 0 && i < images.n; i++)
        taken = page_take(PyList_GetItem(words, (Py_ssize_t)i), &pages[i]);
    if (taken == 0) {
        d->pipe.busy = true;
        Py_BEGIN_ALLOW_THREADS
        st = tn_doc_read_many(d->doc, images.items, pages, images.n, results, &err);
        Py_END_ALLOW_THREADS
        if (st == TN_OK)
            list = PyList_New(0);
        else
            core_raise(&err, NULL);
        for (uint32_t i = 0; list != NULL && i < images.n; i++)
            list = core_list_append(list, page_answer(&results[i], pages[i].n, Py_NewRef(Py_None)));
        d->pipe.busy = false;
    }
    for (uint32_t i = 0; pages != NULL && i < images.n; i++)
        tn_doc_page_free(&pages[i]);
    free(pages);
    free(results);
    core_images_release(&images);
    return list;
}

/* window(array, words, i) -> (ids i64 [S], mask i64 [S], boxes i64 [S, 4], planes f32 [3, H, W], windows) */
static PyObject *doc_window(PyObject *self, PyObject *args) {
    Doc *d = (Doc *)self;
    PyObject *array, *words, *a[4] = {0}, *result = NULL;
    unsigned window;
    CoreTensor t = {0};
    TnImage image;
    TnDocPage page = {0};
    TnError err = {0};
    uint32_t w, h, windows = 0;
    void *data[4] = {0};
    if (!PyArg_ParseTuple(args, "OOI", &array, &words, &window) || !core_pipe_ready(&d->pipe))
        return NULL;
    const int64_t s = tn_doc_sequence(d->doc);
    tn_doc_size(d->doc, &w, &h);
    bool ok = core_image_take(array, &t, &image) == 0 && page_take(words, &page) == 0 && (a[0] = core_array_new(TN_I64, 1, (int64_t[]){s}, false, &data[0])) &&
              (a[1] = core_array_new(TN_I64, 1, (int64_t[]){s}, false, &data[1])) && (a[2] = core_array_new(TN_I64, 2, (int64_t[]){s, 4}, false, &data[2])) &&
              (a[3] = core_array_new(TN_F32, 3, (int64_t[]){3, h, w}, false, &data[3]));
    if (ok) {
        if (tn_doc_window(d->doc, &image, &page, window, data[0], data[1], data[2], data[3], &windows, &err) != TN_OK)
            core_raise(&err, NULL);
        else
            result = Py_BuildValue("OOOOI", a[0], a[1], a[2], a[3], windows);
    }
    for (int i = 0; i < 4; i++)
        Py_XDECREF(a[i]);
    tn_doc_page_free(&page);
    core_tensor_release(&t);
    return result;
}

/* labels() -> ["O", "B-HEADER", ...] */
static PyObject *doc_labels(PyObject *self, PyObject *unused) {
    const Doc *d = (Doc *)self;
    PyObject *list = PyList_New(0);
    (void)unused;
    for (uint32_t i = 0; list != NULL && i < tn_doc_label_count(d->doc); i++)
        list = core_list_append(list, core_string(tn_doc_label(d->doc, i)));
    return list;
}

/* sizes() -> (tokens of a window, width, height of the picture that the model sees) */
static PyObject *doc_sizes(PyObject *self, PyObject *unused) {
    const Doc *d = (Doc *)self;
    uint32_t w, h;
    (void)unused;
    tn_doc_size(d->doc, &w, &h);
    return Py_BuildValue("III", tn_doc_sequence(d->doc), w, h);
}

static PyMethodDef doc_methods[] = {
    {"read", doc_read, METH_VARARGS, "read(array, words, score) -> (entities, labels, probabilities, windows, tokens, preprocess ms, run ms, counts or None)"},
    {"read_many", doc_read_many, METH_VARARGS, "read_many([array], [words]) -> [what read() returns], made ready side by side, run in shared batches"},
    {"window", doc_window, METH_VARARGS, "window(array, words, i) -> (ids, mask, boxes, planes, windows)"},
    {"labels", doc_labels, METH_NOARGS, "labels() -> [label]"},
    {"sizes", doc_sizes, METH_NOARGS, "sizes() -> (tokens, width, height)"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot doc_slots[] = {
    {Py_tp_new, (void *)doc_new},
    {Py_tp_dealloc, (void *)doc_dealloc},
    {Py_tp_methods, doc_methods},
    {Py_tp_doc, "Doc(plan, tokenizer=None, threads=0, batch=0, overlap=128, word_boxes=False, clip=False): entities of forms."},
    {0, NULL},
};
static PyType_Spec doc_spec = {"tenon._core.Doc", sizeof(Doc), 0, Py_TPFLAGS_DEFAULT, doc_slots};

/* ---- drawing ---- */

/* Entities back from Python; texts live in their tuples. Release entities with free() in any case. */
static int result_take(PyObject *list, TnDocResult *r) {
    Py_ssize_t n = PyList_Check(list) ? PyList_Size(list) : -1;
    memset(r, 0, sizeof *r);
    if (n < 0 || n > TN_DOC_MAX_WORDS) {
        core_fail(TN_ERR_ARGUMENT, "entities are a list of at most %u", TN_DOC_MAX_WORDS);
        return -1;
    }
    bool *seen = calloc((size_t)n + 1, sizeof *seen);
    int status = -1;
    r->entities = calloc((size_t)n + 1, sizeof *r->entities);
    if (r->entities == NULL || seen == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        TnDocEntity *e = &r->entities[r->n++];
        PyObject *question;
        const char *text;
        if (!PyArg_ParseTuple(PyList_GetItem(list, i), "ssf(iiii)IIIO", &e->label, &text, &e->score, &e->box[0], &e->box[1], &e->box[2], &e->box[3], &e->first,
                              &e->n, &e->order, &question))
            goto end;
        e->text = (char *)(uintptr_t)text;
        unsigned long q = question == Py_None ? TN_DOC_NONE : PyLong_AsUnsignedLong(question);
        if (PyErr_Occurred())
            goto end;
        if (e->order >= (size_t)n || seen[e->order] || (question != Py_None && q >= (unsigned long)n)) {
            core_fail(TN_ERR_ARGUMENT, "entity %zd: 'order' must be its place among %zd, each once, and 'question' the number of another", i, n);
            goto end;
        }
        seen[e->order] = true;
        e->question = (uint32_t)q;
    }
    status = 0;
end:
    free(seen);
    return status;
}

/* doc_draw(array, entities) -> array */
static PyObject *doc_draw(PyObject *module, PyObject *args) {
    PyObject *array, *list, *result = NULL;
    CoreTensor t = {0};
    TnImage image, drawn = {0};
    TnDocResult r = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &array, &list))
        return NULL;
    if (core_image_take(array, &t, &image) == 0 && result_take(list, &r) == 0) {
        Py_BEGIN_ALLOW_THREADS
        st = tn_doc_draw(&image, &r, &drawn, &err);
        Py_END_ALLOW_THREADS
        result = core_image_array(st, &drawn, &err, NULL);
    }
    free(r.entities);
    core_tensor_release(&t);
    return result;
}

/* doc_html(array, entities, title, path, windows, tokens, preprocess ms, run ms) */
static PyObject *doc_html(PyObject *module, PyObject *args) {
    PyObject *array, *list, *path;
    const char *title;
    unsigned windows, tokens;
    double preprocess, run;
    CoreTensor t = {0};
    TnImage image;
    TnDocResult r = {0};
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOsO&IIdd", &array, &list, &title, PyUnicode_FSConverter, &path, &windows, &tokens, &preprocess, &run))
        return NULL;
    if (core_image_take(array, &t, &image) == 0 && result_take(list, &r) == 0) {
        const char *file = PyBytes_AsString(path);
        r.windows = windows;
        r.tokens = tokens;
        r.preprocess_ms = preprocess;
        r.run_ms = run;
        Py_BEGIN_ALLOW_THREADS
        st = tn_doc_save_html(&image, &r, title, file, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK)
            core_raise(&err, file);
    }
    free(r.entities);
    core_tensor_release(&t);
    Py_DECREF(path);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- counting ---- */

/* n tags as C strings into *out; -1 with an exception. */
static int tags(PyObject *list, Py_ssize_t n, const char **out) {
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = PyUnicode_AsUTF8AndSize(PyList_GetItem(list, i), NULL);
        if (out[i] == NULL)
            return -1;
    }
    return 0;
}

/* entity_counts([([expected tag], [predicted tag])]) -> [(type, right, predicted, expected)] */
static PyObject *entity_counts(PyObject *module, PyObject *arg) {
    TnDocScore *s = calloc(1, sizeof *s);
    TnError err = {0};
    (void)module;
    if (s == NULL)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < PySequence_Size(arg); i++) {
        PyObject *pair = PySequence_GetItem(arg, i), *expected, *predicted;
        if (pair != NULL && PyArg_ParseTuple(pair, "O!O!", &PyList_Type, &expected, &PyList_Type, &predicted)) {
            Py_ssize_t n = PyList_Size(expected);
            const char **both = calloc((size_t)n * 2 + 1, sizeof *both);
            if (both == NULL)
                PyErr_NoMemory();
            else if (PyList_Size(predicted) != n || n > UINT32_MAX)
                core_fail(TN_ERR_SHAPE, "sequence %zd: %zd tags are expected, %zd predicted", i, n, PyList_Size(predicted));
            else if (tags(expected, n, both) == 0 && tags(predicted, n, both + n) == 0 && tn_doc_score_add(s, both, both + n, (uint32_t)n, &err) != TN_OK)
                core_raise(&err, NULL);
            free(both);
        }
        Py_XDECREF(pair);
    }
    PyObject *result = PyErr_Occurred() ? NULL : score_list(s);
    free(s);
    return result;
}

static PyMethodDef functions[] = {
    {"doc_words", doc_words, METH_O, "doc_words(path, bytes or list) -> (words, blank words)"},
    {"doc_draw", doc_draw, METH_VARARGS, "doc_draw(array, entities) -> array"},
    {"doc_html", doc_html, METH_VARARGS, "doc_html(array, entities, title, path, windows, tokens, preprocess ms, run ms)"},
    {"entity_counts", entity_counts, METH_O, "entity_counts([(expected tags, predicted tags)]) -> [(type, right, predicted, expected)]"},
    {NULL, NULL, 0, NULL},
};

int core_add_doc(PyObject *module) {
    PyObject *type = core_add_type(module, "Doc", &doc_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
