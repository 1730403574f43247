/* SPDX-License-Identifier: Apache-2.0
 *
 * The module tenon._core: types, functions, constants, and what Python hands over once (setup). */
#include <pthread.h>

#include "python/src/core.h"

#define X(e, number, name, bits) +1
_Static_assert(CORE_DTYPES == 0 TN_DTYPE_MAP(X), "the hooks have a place for every element type");
#undef X

PyObject *core_add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    if (type != NULL && PyModule_AddObjectRef(module, name, type) != 0)
        Py_CLEAR(type);
    return type;
}

/* setup(empty, {number: dtype}, {number: real dtype}, make_error, convert, aligned, unpack) */
static PyObject *setup(PyObject *module, PyObject *args) {
    PyObject *dtypes, *views;
    (void)module;
    CoreHooks h = core;
    if (!PyArg_ParseTuple(args, "OO!O!OOOO", &h.empty, &PyDict_Type, &dtypes, &PyDict_Type, &views, &h.make_error, &h.convert, &h.aligned, &h.unpack))
        return NULL;
    for (long i = 0; i < CORE_DTYPES; i++) {
        PyObject *key = PyLong_FromLong(i);
        if (key == NULL)
            return NULL;
        h.dtypes[i] = Py_XNewRef(PyDict_GetItemWithError(dtypes, key));
        h.view_as[i] = Py_XNewRef(PyDict_GetItemWithError(views, key));
        Py_DECREF(key);
    }
    if (PyErr_Occurred())
        return NULL;
    Py_INCREF(h.empty);
    Py_INCREF(h.make_error);
    Py_INCREF(h.convert);
    Py_INCREF(h.aligned);
    Py_INCREF(h.unpack);
    core = h;
    return Py_NewRef(Py_None);
}

/* device_count("cuda") -> number of GPUs that the library can use; raises with the reason when it cannot look. */
static PyObject *device_count(PyObject *module, PyObject *args) {
    const char *kind;
    uint32_t n = 0;
    TnError err = {0};
    TnStatus st;
    (void)module;
    if (!PyArg_ParseTuple(args, "s", &kind))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    st = tn_device_count(kind, &n, &err);
    Py_END_ALLOW_THREADS
    return st == TN_OK ? PyLong_FromUnsignedLong(n) : core_raise(&err, NULL);
}

static PyMethodDef functions[] = {
    {"setup", setup, METH_VARARGS, "what Python hands over, once"},
    {"device_count", device_count, METH_VARARGS, "device_count(kind) -> int"},
    {NULL, NULL, 0, NULL},
};

static void after_fork(void) { core_generation++; }

static PyObject *dtype_table(void) {
    PyObject *table = PyDict_New();
#define X(e, number, name, bits)                                                                                    \
    if (table != NULL) {                                                                                            \
        PyObject *row = Py_BuildValue("si", name, bits), *key = PyLong_FromLong(number);                            \
        if (row == NULL || key == NULL || PyDict_SetItem(table, key, row) != 0)                                     \
            Py_CLEAR(table);                                                                                        \
        Py_XDECREF(row);                                                                                            \
        Py_XDECREF(key);                                                                                            \
    }
    TN_DTYPE_MAP(X)
#undef X
    return table;
}

static PyObject *status_table(void) {
    PyObject *table = PyDict_New();
#define X(code, number, name, meaning)                                                                              \
    if (table != NULL) {                                                                                            \
        PyObject *row = Py_BuildValue("ss", name, meaning), *key = PyLong_FromLong(number);                         \
        if (row == NULL || key == NULL || PyDict_SetItem(table, key, row) != 0)                                     \
            Py_CLEAR(table);                                                                                        \
        Py_XDECREF(row);                                                                                            \
        Py_XDECREF(key);                                                                                            \
    }
    TN_STATUS_MAP(X)
#undef X
    return table;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "tenon._core", "Tenon's C API as Python objects.", -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) {
    PyObject *m = PyModule_Create(&definition), *dtypes = dtype_table(), *statuses = status_table();
    bool ok = m != NULL && dtypes != NULL && statuses != NULL && core_add_plan(m) == 0 && core_add_value(m) == 0 && core_add_session(m) == 0 &&
              core_add_context(m) == 0 && core_add_reference(m) == 0 && core_add_pictures(m) == 0 && core_add_ocr(m) == 0 &&
              core_add_classify(m) == 0 && core_add_detect(m) == 0 && core_add_doc(m) == 0 && core_add_ground(m) == 0 && PyModule_AddFunctions(m, core_build_methods) == 0 &&
              PyModule_AddStringConstant(m, "version", tn_version()) == 0 && PyModule_AddObjectRef(m, "dtypes", dtypes) == 0 &&
              PyModule_AddObjectRef(m, "statuses", statuses) == 0;
    if (ok && pthread_atfork(NULL, NULL, after_fork) != 0) {
        PyErr_SetString(PyExc_ImportError, "pthread_atfork failed");
        ok = false;
    }
    Py_XDECREF(dtypes);
    Py_XDECREF(statuses);
    if (!ok)
        Py_CLEAR(m);
    return m;
}
