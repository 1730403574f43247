/* SPDX-License-Identifier: Apache-2.0
 *
 * From TnError to Python exceptions. The classes are Python's (tenon/errors.py). */
#include "python/src/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

CoreHooks core;
unsigned core_generation;

PyObject *core_raise(const TnError *err, const char *file) {
    if (PyErr_Occurred())
        return NULL;
    if (core.make_error == NULL) {
        PyErr_SetString(PyExc_RuntimeError, err->message);
        return NULL;
    }
    PyObject *message = PyUnicode_DecodeUTF8(err->message, (Py_ssize_t)strlen(err->message), "replace");
    PyObject *node = PyUnicode_DecodeUTF8(err->node, (Py_ssize_t)strlen(err->node), "replace");
    PyObject *where = file == NULL ? Py_NewRef(Py_None) : PyUnicode_DecodeFSDefault(file);
    PyObject *offset = err->has_offset ? PyLong_FromLongLong(err->offset) : Py_NewRef(Py_None);
    PyObject *e = NULL;
    if (message != NULL && node != NULL && where != NULL && offset != NULL)
        e = PyObject_CallFunction(core.make_error, "isOOOO", (int)err->code, tn_status_name(err->code), message, node, offset, where);
    if (e != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(e), e);
    Py_XDECREF(e);
    Py_XDECREF(message);
    Py_XDECREF(node);
    Py_XDECREF(where);
    Py_XDECREF(offset);
    return NULL;
}

PyObject *core_fail(TnStatus code, const char *fmt, ...) {
    TnError err = {.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err.message, sizeof err.message, fmt, ap);
    va_end(ap);
    return core_raise(&err, NULL);
}

void core_text_add(void *text, const char *s, size_t n) {
    CoreText *t = text;
    if (t->failed)
        return;
    if (t->n + n > t->cap) {
        size_t cap = 2 * (t->n + n) + 256;
        char *grown = realloc(t->data, cap);
        if (grown == NULL) {
            t->failed = true;
            return;
        }
        t->data = grown;
        t->cap = cap;
    }
    memcpy(t->data + t->n, s, n);
    t->n += n;
}

PyObject *core_text_take(CoreText *text) {
    PyObject *o = text->failed ? PyErr_NoMemory() : PyUnicode_DecodeUTF8(text->data == NULL ? "" : text->data, (Py_ssize_t)text->n, "replace");
    free(text->data);
    *text = (CoreText){0};
    return o;
}
