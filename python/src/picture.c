/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pipelines' types share: a plan and the state of a call, pictures from and to arrays, masks as run lengths. */
#include <string.h>

#include "pipelines/rle.h"
#include "python/src/pipe.h"

/* ---- objects that belong to a plan ---- */

void *core_pipe_new(PyTypeObject *type, PyObject *plan) {
    CorePipe *p = (CorePipe *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (p != NULL) {
        p->plan = (CorePlan *)Py_NewRef(plan);
        p->generation = core_generation;
    }
    return p;
}

void core_pipe_free(PyObject *self) {
    CorePipe *p = (CorePipe *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(p->plan);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

bool core_pipe_ready(const CorePipe *p) {
    if (p->generation != core_generation)
        core_fail(TN_ERR_STATE, "this process was forked after the object was made; make it in the child");
    else if (p->busy)
        core_fail(TN_ERR_STATE, "the object is busy in another thread");
    else
        return true;
    return false;
}

/* ---- pictures ---- */

int core_image_take(PyObject *o, CoreTensor *t, TnImage *image) {
    TnIoInfo want = {.dtype = TN_U8};
    if (core_tensor_take(o, "image", &want, t) != 0)
        return -1;
    const int64_t *d = t->t.dims;
    if (t->t.rank != 3 || t->on_device || d[2] != 3 || d[0] < 1 || d[1] < 1 || d[0] > TN_IMAGE_MAX_PIXELS || d[1] > TN_IMAGE_MAX_PIXELS ||
        d[0] * d[1] > TN_IMAGE_MAX_PIXELS) {
        core_fail(TN_ERR_SHAPE, "a picture is an array uint8 [height, width, 3] of 1 to %u pixels on the host", TN_IMAGE_MAX_PIXELS);
        return -1;
    }
    *image = (TnImage){t->t.data, (uint32_t)d[1], (uint32_t)d[0]};
    return 0;
}

void core_images_release(CoreImages *images) {
    for (uint32_t i = 0; i < images->taken; i++)
        core_tensor_release(&images->tensors[i]);
    free(images->tensors);
    free(images->items);
    *images = (CoreImages){0};
}

int core_images_take(PyObject *list, CoreImages *out) {
    Py_ssize_t n = PyList_Check(list) ? PyList_Size(list) : -1;
    *out = (CoreImages){0};
    if (n < 1 || n > CORE_MAX_IMAGES) {
        core_fail(TN_ERR_ARGUMENT, "give a list of 1 to %d pictures", CORE_MAX_IMAGES);
        return -1;
    }
    out->tensors = calloc((size_t)n, sizeof *out->tensors);
    out->items = calloc((size_t)n, sizeof *out->items);
    out->n = (uint32_t)n;
    if (out->tensors == NULL || out->items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (out->taken < out->n) {
        uint32_t i = out->taken++;
        if (core_image_take(PyList_GetItem(list, (Py_ssize_t)i), &out->tensors[i], &out->items[i]) != 0)
            return -1;
    }
    return 0;
}

PyObject *core_image_array(TnStatus st, TnImage *image, const TnError *err, const char *file) {
    if (st != TN_OK)
        return core_raise(err, file);
    TnTensor t = {.data = image->rgb, .dtype = TN_U8, .rank = 3, .dims = {image->height, image->width, 3}};
    PyObject *a = core_array_copy(&t);
    tn_image_free(image);
    return a;
}

PyObject *core_array_of(TnDtype dtype, int32_t rank, const int64_t *dims, const void *data) {
    TnTensor t = {.data = (void *)(uintptr_t)data, .dtype = dtype, .rank = rank};
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    return core_array_copy(&t);
}

int core_tensor_want(PyObject *o, const char *name, TnDtype dtype, int32_t rank, CoreTensor *t) {
    TnIoInfo want = {.dtype = dtype};
    if (core_tensor_take(o, name, &want, t) != 0)
        return -1;
    if (t->t.rank == rank && !t->on_device)
        return 0;
    core_fail(TN_ERR_SHAPE, "'%s' has rank %d; it must be %d, on the host", name, t->t.rank, rank);
    return -1;
}

PyObject *core_string(const char *s) { return s == NULL ? Py_NewRef(Py_None) : PyUnicode_DecodeUTF8(s, (Py_ssize_t)strlen(s), "replace"); }

PyObject *core_list_append(PyObject *list, PyObject *item) {
    if (list == NULL || item == NULL || PyList_Append(list, item) != 0)
        Py_CLEAR(list);
    Py_XDECREF(item);
    return list;
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
        a = core_image_array(st, &image, &err, file);
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
    return core_image_array(st, &image, &err, NULL);
}

/* save_png(array, path): whole or not at all */
static PyObject *save_png(PyObject *module, PyObject *args) {
    PyObject *array, *path;
    CoreTensor t = {0};
    TnImage image;
    TnError err = {0};
    TnStatus st = TN_OK;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&", &array, PyUnicode_FSConverter, &path))
        return NULL;
    const char *file = PyBytes_AsString(path);
    bool ok = core_image_take(array, &t, &image) == 0;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        st = tn_image_save_png(&image, file, &err);
        Py_END_ALLOW_THREADS
        if (st != TN_OK)
            core_raise(&err, file);
    }
    core_tensor_release(&t);
    Py_DECREF(path);
    return ok && st == TN_OK ? Py_NewRef(Py_None) : NULL;
}

/* ---- masks ---- */

/* rle_decode(counts as text, height, width) -> uint8 [height, width] of 0 and 1 */
static PyObject *rle_decode(PyObject *module, PyObject *args) {
    const char *text;
    Py_ssize_t n;
    unsigned height, width;
    TnRle rle = {0};
    TnError err = {0};
    void *bits;
    (void)module;
    if (!PyArg_ParseTuple(args, "s#II", &text, &n, &height, &width))
        return NULL;
    if (tn_rle_from_text(text, (size_t)n, height, width, &rle, &err) != TN_OK)
        return core_raise(&err, NULL);
    PyObject *a = core_array_new(TN_U8, 2, (int64_t[]){height, width}, false, &bits);
    if (a != NULL)
        tn_rle_to_mask(&rle, bits);
    tn_rle_free(&rle);
    return a;
}

/* rle_encode(uint8 [height, width]) -> counts as text */
static PyObject *rle_encode(PyObject *module, PyObject *arg) {
    CoreTensor t = {0};
    TnRle rle = {0};
    TnError err = {0};
    PyObject *result = NULL;
    (void)module;
    if (core_tensor_want(arg, "mask", TN_U8, 2, &t) == 0) {
        if (t.t.dims[0] > TN_RLE_MAX_SIDE || t.t.dims[1] > TN_RLE_MAX_SIDE) {
            core_fail(TN_ERR_LIMIT, "a side of the mask is above %u", TN_RLE_MAX_SIDE);
        } else if (tn_rle_from_mask(t.t.data, (uint32_t)t.t.dims[0], (uint32_t)t.t.dims[1], &rle, &err) != TN_OK) {
            core_raise(&err, NULL);
        } else {
            char *text = tn_rle_to_text(&rle);
            result = text == NULL ? PyErr_NoMemory() : PyUnicode_FromString(text);
            free(text);
        }
    }
    tn_rle_free(&rle);
    core_tensor_release(&t);
    return result;
}

static PyMethodDef functions[] = {
    {"image", load_image, METH_O, "image(path or bytes) -> uint8 [height, width, 3]"},
    {"save_png", save_png, METH_VARARGS, "save_png(array, path)"},
    {"rle_decode", rle_decode, METH_VARARGS, "rle_decode(counts, height, width) -> uint8 [height, width]"},
    {"rle_encode", rle_encode, METH_O, "rle_encode(uint8 [height, width]) -> counts"},
    {NULL, NULL, 0, NULL},
};

int core_add_pictures(PyObject *module) { return PyModule_AddFunctions(module, functions); }
