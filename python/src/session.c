/* SPDX-License-Identifier: Apache-2.0
 *
 * Session: runs of a plan from any number of threads. Each run takes a context from the session's list, or makes one when all are busy, and puts it back. In:
 * a dict of tensors. Out: arrays of the caller's own.
 *
 * Large outputs are computed straight into the arrays that are returned: when the inputs have the shapes that the context saw last, the outputs' are known
 * before the run. Small ones are copied, which is quicker than finding that out. */
#include "python/src/core.h"

#include <string.h>
#include <time.h>

#define DIRECT_BYTES 131072u /* an output from which it pays to avoid the copy */
#define ON_STACK 16u

typedef struct Session {
    PyObject_HEAD
    CorePlan *plan;
    uint32_t threads;
    Slot *free;
} Session;

/* ---- slots ---- */

Slot *core_slot_new(CorePlan *plan, uint32_t threads) {
    TnContextOptions o = tn_context_options_default();
    TnError err = {0};
    TnStatus st;
    if (plan->on_device && plan->generation != core_generation) {
        core_fail(TN_ERR_STATE, "this process was forked after the plan was opened on a GPU, which does not work in CUDA; open the plan in the child, or start "
                                "processes by 'spawn'");
        return NULL;
    }
    Slot *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->in = calloc(plan->n_in + 1u, sizeof *s->in);
        s->out = calloc(plan->n_out + 1u, sizeof *s->out);
    }
    if (s == NULL || s->in == NULL || s->out == NULL) {
        PyErr_NoMemory();
        core_slot_free(s);
        return NULL;
    }
    o.threads = threads;
    s->generation = core_generation;
    Py_BEGIN_ALLOW_THREADS
    st = tn_context_create(plan->plan, &o, &s->ctx, &err);
    Py_END_ALLOW_THREADS
    if (st == TN_OK)
        return s;
    core_raise(&err, NULL);
    core_slot_free(s);
    return NULL;
}

void core_slot_free(Slot *s) {
    if (s == NULL)
        return;
    if (s->generation == core_generation) { /* else its threads are in another process and cannot be joined */
        TnContext *ctx = s->ctx;
        Py_BEGIN_ALLOW_THREADS
        tn_context_destroy(&ctx);
        Py_END_ALLOW_THREADS
    }
    free(s->in);
    free(s->out);
    free(s);
}

static Slot *take(Session *s) {
    while (s->free != NULL) {
        Slot *slot = s->free;
        s->free = slot->next;
        if (slot->generation == core_generation)
            return slot;
        core_slot_free(slot);
    }
    return core_slot_new(s->plan, s->threads);
}

static void give(Session *s, Slot *slot) {
    slot->next = s->free;
    s->free = slot;
}

/* ---- feeds ---- */

static PyObject *names_of(PyObject **names, uint32_t n) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < n; i++)
        if (PyList_Append(list, names[i]) != 0)
            Py_CLEAR(list);
    return list;
}

/* The feed does not have exactly the inputs: says which are missing and which are too many. */
static int wrong_names(const CorePlan *p, PyObject *feed) {
    PyObject *have = PyMapping_Keys(feed), *want = names_of(p->in_names, p->n_in), *message = NULL;
    if (have != NULL && want != NULL)
        message = PyUnicode_FromFormat("the inputs given are %R; the model takes %R", have, want);
    const char *text = message == NULL ? NULL : PyUnicode_AsUTF8AndSize(message, NULL);
    if (text != NULL) {
        for (uint32_t i = 0; i < p->n_in; i++)
            if (PySequence_Contains(have, p->in_names[i]) == 0) {
                core_fail(TN_ERR_NAME, "input '%s' is missing from the feed: %s", p->in[i].name, text);
                break;
            }
        if (!PyErr_Occurred())
            core_fail(TN_ERR_NAME, "the feed has an input that the model does not have: %s", text);
    }
    Py_XDECREF(have);
    Py_XDECREF(want);
    Py_XDECREF(message);
    return -1;
}

/* feed: a dict of name -> tensor; fills in[n_in]. Release what was taken also after a failure (*taken of them). */
static int take_feed(const CorePlan *p, PyObject *feed, CoreTensor *in, uint32_t *taken) {
    *taken = 0;
    if (!PyDict_Check(feed)) {
        PyErr_Format(PyExc_TypeError, "input_feed must be a dict {input name: array}, not %R", (PyObject *)Py_TYPE(feed));
        return -1;
    }
    if (PyDict_Size(feed) != (Py_ssize_t)p->n_in)
        return wrong_names(p, feed);
    for (uint32_t i = 0; i < p->n_in; i++) {
        PyObject *o = PyDict_GetItemWithError(feed, p->in_names[i]);
        if (o == NULL)
            return PyErr_Occurred() ? -1 : wrong_names(p, feed);
        ++*taken;
        Py_INCREF(o); /* conversion runs Python code, which may change the dict */
        int status = core_tensor_take(o, p->in[i].name, &p->in[i], &in[i]);
        Py_DECREF(o);
        if (status != 0)
            return -1;
    }
    return 0;
}

static TnStatus set_inputs(const CorePlan *p, Slot *slot, const CoreTensor *in, TnError *err) {
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < p->n_in; i++)
        st = in[i].on_device ? tn_context_bind_input_device(slot->ctx, i, &in[i].t, err) : tn_context_set_input(slot->ctx, i, &in[i].t, err);
    return st;
}

/* ---- outputs ---- */

static bool same_dims(const TnTensor *a, const TnTensor *b) {
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

typedef struct Direct {
    PyObject *array;
    void *data;
} Direct;

/* Arrays for large outputs whose dims are known from the last run. wanted: [n_out]. */
static int place_outputs(const CorePlan *p, Slot *slot, const CoreTensor *in, const bool *wanted, Direct *direct, TnError *err) {
    bool known = slot->seen;
    for (uint32_t i = 0; known && i < p->n_in; i++)
        known = same_dims(&slot->in[i], &in[i].t);
    for (uint32_t i = 0; i < p->n_out; i++) {
        const TnTensor *o = &slot->out[i];
        size_t bytes = known && wanted[i] ? tn_tensor_bytes(o) : 0;
        if (bytes < DIRECT_BYTES) {
            if (tn_context_set_output(slot->ctx, i, NULL, 0, err) != TN_OK)
                return -1;
            continue;
        }
        TnTensor t = *o;
        direct[i].array = core_array_new(o->dtype, o->rank, o->dims, true, &direct[i].data);
        t.data = direct[i].data;
        if (direct[i].array == NULL || tn_context_set_output(slot->ctx, i, &t, bytes, err) != TN_OK)
            return -1;
    }
    return 0;
}

static void remember(const CorePlan *p, Slot *slot, const CoreTensor *in) {
    slot->seen = true;
    for (uint32_t i = 0; i < p->n_in; i++)
        slot->in[i] = in[i].t;
}

static PyObject *output(Slot *slot, uint32_t i, Direct *direct, TnError *err) {
    TnTensor t;
    if (tn_context_output(slot->ctx, i, &t, err) != TN_OK)
        return core_raise(err, NULL);
    bool as_planned = direct->array != NULL && same_dims(&t, &slot->out[i]);
    slot->out[i] = t;
    if (!as_planned)
        return core_array_copy(&t);
    PyObject *a = direct->array;
    direct->array = NULL;
    return core_array_finish(a, t.dtype, t.rank, t.dims);
}

/* wanted and order from `names` (None: all); -1 with an exception for an unknown one. */
static int parse_names(const CorePlan *p, PyObject *names, bool *wanted, uint32_t *order, uint32_t *n) {
    memset(wanted, names == Py_None, p->n_out);
    *n = p->n_out;
    for (uint32_t i = 0; names == Py_None && i < p->n_out; i++)
        order[i] = i;
    if (names == Py_None)
        return 0;
    Py_ssize_t count = PySequence_Size(names);
    if (count < 0)
        return -1;
    if (count == 0) /* as onnxruntime: an empty list means all */
        return parse_names(p, Py_None, wanted, order, n);
    if (PyUnicode_Check(names) || count > (Py_ssize_t)p->n_out) {
        core_fail(TN_ERR_NAME, "output_names must be None or a list of different names of outputs; there are %u", p->n_out);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        PyObject *name = PySequence_GetItem(names, k);
        if (name == NULL)
            return -1;
        uint32_t i = 0;
        while (i < p->n_out && name != p->out_names[i] && PyObject_RichCompareBool(name, p->out_names[i], Py_EQ) != 1)
            i++;
        if (i == p->n_out && !PyErr_Occurred()) {
            TnError err = {0};
            const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
            if (text != NULL && tn_plan_output_index(p->plan, text, &i, &err) != TN_OK)
                core_raise(&err, NULL);
            else if (text == NULL)
                PyErr_Format(PyExc_TypeError, "names of outputs are strings, not %R", name);
        }
        Py_DECREF(name);
        if (PyErr_Occurred())
            return -1;
        wanted[i] = true;
        order[k] = i;
    }
    *n = (uint32_t)count;
    return 0;
}

/* ---- run ---- */

typedef struct Run {
    CoreTensor *in, in_stack[ON_STACK];
    Direct *direct, direct_stack[ON_STACK];
    bool *wanted, wanted_stack[ON_STACK];
    uint32_t *order, order_stack[ON_STACK], n_order, taken;
} Run;

static int run_begin(const CorePlan *p, Run *r) {
    r->in = p->n_in <= ON_STACK ? r->in_stack : malloc(p->n_in * sizeof *r->in);
    bool few = p->n_out <= ON_STACK;
    r->direct = few ? r->direct_stack : malloc(p->n_out * sizeof *r->direct);
    r->wanted = few ? r->wanted_stack : malloc(p->n_out * sizeof *r->wanted);
    r->order = few ? r->order_stack : malloc(p->n_out * sizeof *r->order);
    r->taken = 0;
    if (r->in != NULL && r->direct != NULL && r->wanted != NULL && r->order != NULL) {
        memset(r->direct, 0, p->n_out * sizeof *r->direct);
        return 0;
    }
    PyErr_NoMemory();
    return -1;
}

static void run_end(const CorePlan *p, Run *r) {
    for (uint32_t i = 0; i < r->taken; i++)
        core_tensor_release(&r->in[i]);
    for (uint32_t i = 0; r->direct != NULL && r->wanted != NULL && r->in != NULL && r->order != NULL && i < p->n_out; i++)
        Py_XDECREF(r->direct[i].array);
    if (r->in != r->in_stack)
        free(r->in);
    if (r->direct != r->direct_stack)
        free(r->direct);
    if (r->wanted != r->wanted_stack)
        free(r->wanted);
    if (r->order != r->order_stack)
        free(r->order);
}

static PyObject *run_on(const CorePlan *p, Slot *slot, Run *r) {
    TnError err = {0};
    TnStatus st = set_inputs(p, slot, r->in, &err);
    if (st != TN_OK || place_outputs(p, slot, r->in, r->wanted, r->direct, &err) != 0)
        return core_raise(&err, NULL);
    Py_BEGIN_ALLOW_THREADS
    st = tn_context_run(slot->ctx, &err);
    if (st == TN_ERR_SHAPE && slot->seen) { /* perhaps an output whose dims depend on values has outgrown its array */
        TnStatus reset = TN_OK;
        for (uint32_t i = 0; reset == TN_OK && i < p->n_out; i++)
            reset = tn_context_set_output(slot->ctx, i, NULL, 0, NULL);
        err = (TnError){0};
        st = tn_context_run(slot->ctx, &err);
    }
    Py_END_ALLOW_THREADS
    if (st != TN_OK) {
        slot->seen = false;
        return core_raise(&err, NULL);
    }
    remember(p, slot, r->in);
    PyObject *list = PyList_New((Py_ssize_t)r->n_order);
    for (uint32_t k = 0; list != NULL && k < r->n_order; k++) {
        PyObject *a = output(slot, r->order[k], &r->direct[r->order[k]], &err);
        if (a == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, (Py_ssize_t)k, a);
    }
    for (uint32_t i = 0; list != NULL && i < p->n_out; i++)
        if (!r->wanted[i] && tn_context_output(slot->ctx, i, &slot->out[i], NULL) != TN_OK)
            slot->seen = false;
    if (list == NULL)
        slot->seen = false;
    return list;
}

/* run(output_names or None, {name: tensor}) -> [array] */
static PyObject *session_run(PyObject *o, PyObject *const *args, Py_ssize_t n) {
    Session *s = (Session *)o;
    Run r;
    PyObject *result = NULL;
    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "run(output_names, input_feed)");
        return NULL;
    }
    if (run_begin(s->plan, &r) == 0 && parse_names(s->plan, args[0], r.wanted, r.order, &r.n_order) == 0 &&
        take_feed(s->plan, args[1], r.in, &r.taken) == 0) {
        Slot *slot = take(s);
        if (slot != NULL) {
            result = run_on(s->plan, slot, &r);
            give(s, slot);
        }
    }
    run_end(s->plan, &r);
    return result;
}

/* ---- looking at steps, time ---- */

typedef struct Watch {
    PyObject *fn, *error[3]; /* error: of fn, raised when the run is over */
    bool failed;
} Watch;

static void on_step(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t, uint64_t ns) {
    Watch *w = ctx;
    PyGILState_STATE g = PyGILState_Ensure();
    if (!w->failed) {
        PyObject *a = core_array_copy(t);
        PyObject *r = a == NULL ? NULL : PyObject_CallFunction(w->fn, "IssssOK", step, node, op, kernel, value, a, (unsigned long long)ns);
        w->failed = r == NULL;
        if (w->failed)
            PyErr_Fetch(&w->error[0], &w->error[1], &w->error[2]);
        Py_XDECREF(a);
        Py_XDECREF(r);
    }
    PyGILState_Release(g);
}

/* run_steps(feed, fn) -> [array]; fn(step, node, op, kernel, value, array, nanoseconds) for every tensor that a step makes. */
static PyObject *session_run_steps(PyObject *o, PyObject *args) {
    Session *s = (Session *)o;
    PyObject *feed, *result = NULL;
    Watch w = {0};
    Run r;
    if (!PyArg_ParseTuple(args, "OO", &feed, &w.fn))
        return NULL;
    if (run_begin(s->plan, &r) == 0 && parse_names(s->plan, Py_None, r.wanted, r.order, &r.n_order) == 0 &&
        take_feed(s->plan, feed, r.in, &r.taken) == 0) {
        Slot *slot = take(s);
        if (slot != NULL) {
            tn_context_on_step(slot->ctx, on_step, &w);
            result = run_on(s->plan, slot, &r);
            tn_context_on_step(slot->ctx, NULL, NULL);
            give(s, slot);
            if (w.failed) {
                Py_CLEAR(result);
                PyErr_Restore(w.error[0], w.error[1], w.error[2]);
            }
        }
    }
    run_end(s->plan, &r);
    return result;
}

static uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* time(feed, runs, seconds) -> (runs' nanoseconds as bytes of uint64, context bytes, device bytes): at least `runs`, until `seconds` have passed. */
static PyObject *session_time(PyObject *o, PyObject *args) {
    Session *s = (Session *)o;
    PyObject *feed, *result = NULL;
    unsigned runs, max_runs;
    double seconds;
    Run r;
    if (!PyArg_ParseTuple(args, "OIId", &feed, &runs, &max_runs, &seconds))
        return NULL;
    uint64_t *ns = malloc((size_t)(max_runs + 1u) * sizeof *ns);
    if (ns == NULL)
        return PyErr_NoMemory();
    if (run_begin(s->plan, &r) == 0 && take_feed(s->plan, feed, r.in, &r.taken) == 0) {
        Slot *slot = take(s);
        TnError err = {0};
        TnStatus st = slot == NULL ? TN_ERR_STATE : set_inputs(s->plan, slot, r.in, &err);
        uint32_t n = 0;
        if (slot != NULL) {
            for (uint32_t i = 0; st == TN_OK && i < s->plan->n_out; i++)
                st = tn_context_set_output(slot->ctx, i, NULL, 0, &err);
            int stop = 0;
            while (st == TN_OK && n < max_runs && !stop) {
                Py_BEGIN_ALLOW_THREADS
                uint64_t begin = now_ns(), last = begin;
                do { /* looks for signals about ten times a second */
                    st = tn_context_run(slot->ctx, &err);
                    uint64_t t = now_ns();
                    ns[n++] = t - last;
                    last = t;
                } while (st == TN_OK && n < max_runs && last - begin < 100000000u && (n < runs || (double)(last - begin) < seconds * 1e9));
                seconds -= (double)(last - begin) * 1e-9;
                Py_END_ALLOW_THREADS
                stop = PyErr_CheckSignals() != 0 || (n >= runs && seconds <= 0);
            }
            slot->seen = false;
            if (st != TN_OK)
                core_raise(&err, NULL);
            else if (!PyErr_Occurred())
                result = Py_BuildValue("Nnn", PyBytes_FromStringAndSize((char *)ns, (Py_ssize_t)(n * sizeof *ns)),
                                       (Py_ssize_t)tn_context_bytes(slot->ctx), (Py_ssize_t)tn_context_device_bytes(slot->ctx));
            give(s, slot);
        }
    }
    run_end(s->plan, &r);
    free(ns);
    return result;
}

static void add_profile(void *ctx, const TnStepProfile *p) {
    PyObject *list = ctx;
    PyGILState_STATE g = PyGILState_Ensure();
    PyObject *row = PyErr_Occurred() ? NULL
                                     : Py_BuildValue("{s:I,s:s,s:s,s:s,s:s,s:i,s:O,s:K,s:K,s:K,s:d}", "step", p->step, "node", p->node_name, "op", p->op,
                                                     "kernel", p->kernel, "shapes", p->shapes, "dtype", (int)p->dtype, "on_device",
                                                     p->on_device ? Py_True : Py_False, "start_ns", (unsigned long long)p->start_ns, "ns",
                                                     (unsigned long long)p->ns, "bytes", (unsigned long long)p->bytes, "flops", p->flops);
    if (row != NULL)
        PyList_Append(list, row);
    Py_XDECREF(row);
    PyGILState_Release(g);
}

/* profile(feed, runs) -> [dict]: a row a step. */
static PyObject *session_profile(PyObject *o, PyObject *args) {
    Session *s = (Session *)o;
    PyObject *feed, *list = NULL;
    unsigned runs;
    Run r;
    if (!PyArg_ParseTuple(args, "OI", &feed, &runs))
        return NULL;
    if (run_begin(s->plan, &r) == 0 && take_feed(s->plan, feed, r.in, &r.taken) == 0 && (list = PyList_New(0)) != NULL) {
        Slot *slot = take(s);
        TnError err = {0};
        TnStatus st = slot == NULL ? TN_ERR_STATE : set_inputs(s->plan, slot, r.in, &err);
        if (slot != NULL && st == TN_OK) {
            Py_BEGIN_ALLOW_THREADS
            st = tn_context_profile(slot->ctx, runs, add_profile, list, &err);
            Py_END_ALLOW_THREADS
        }
        if (slot != NULL)
            give(s, slot);
        if (st != TN_OK)
            core_raise(&err, NULL);
        if (PyErr_Occurred())
            Py_CLEAR(list);
    }
    run_end(s->plan, &r);
    return list;
}

static PyObject *session_generate(PyObject *o, PyObject *args, PyObject *kwargs) {
    Session *s = (Session *)o;
    Slot *slot = take(s);
    PyObject *result = slot == NULL ? NULL : core_generate(slot->ctx, s->plan, args, kwargs);
    if (slot != NULL)
        give(s, slot);
    return result;
}

static void session_dealloc(PyObject *o) {
    Session *s = (Session *)o;
    PyTypeObject *type = Py_TYPE(o);
    while (s->free != NULL) {
        Slot *slot = s->free;
        s->free = slot->next;
        core_slot_free(slot);
    }
    Py_CLEAR(s->plan);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static PyObject *session_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"plan", "threads", NULL};
    PyObject *plan;
    unsigned threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|I", names, core_plan_type, &plan, &threads))
        return NULL;
    Session *s = (Session *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (s == NULL)
        return NULL;
    s->plan = (CorePlan *)Py_NewRef(plan);
    s->threads = threads;
    s->free = core_slot_new(s->plan, threads); /* errors of contexts show here, not at the first run */
    if (s->free == NULL)
        Py_CLEAR(s);
    return (PyObject *)s;
}

static PyMethodDef session_methods[] = {
    {"run", (PyCFunction)(void (*)(void))session_run, METH_FASTCALL, "run(output_names, input_feed) -> [array]"},
    {"run_steps", session_run_steps, METH_VARARGS, "run_steps(input_feed, fn) -> [array]"},
    {"time", session_time, METH_VARARGS, "time(input_feed, runs, max_runs, seconds) -> (bytes, context bytes, device bytes)"},
    {"profile", session_profile, METH_VARARGS, "profile(input_feed, runs) -> [dict]"},
    {"generate", (PyCFunction)(void (*)(void))session_generate, METH_VARARGS | METH_KEYWORDS, "generate(inputs, ...) -> [(tokens, log_probs, score)]"},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot session_slots[] = {
    {Py_tp_new, (void *)session_new},
    {Py_tp_dealloc, (void *)session_dealloc},
    {Py_tp_methods, session_methods},
    {Py_tp_doc, "Session(plan, threads=0): runs of a plan from any number of threads."},
    {0, NULL},
};
static PyType_Spec session_spec = {"tenon._core.Session", sizeof(Session), 0, Py_TPFLAGS_DEFAULT, session_slots};

int core_add_session(PyObject *module) {
    PyObject *type = core_add_type(module, "Session", &session_spec);
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}
