/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle machine: a stack, a memo, and a table of the operations of protocols 2 to 5. Work and memory are linear in the bytes of the
 * pickle: containers share their items, and nothing is expanded but views of tensors, whose bytes are limited. */
#include "hf/pickle.h"

#include "base/dtype.h"

#define MAX_STACK (1u << 20)
#define MAX_MEMO (1u << 24)

typedef enum Call { CALL_DICT, CALL_TENSOR, CALL_TENSOR_V2, CALL_TENSOR_V3, CALL_PARAMETER, CALL_SIZE, CALL_INERT, CALL_STORAGE, CALL_DTYPE } Call;

typedef struct Global {
    const char *module, *name;
    Call call;
    TnDtype type;
} Global;

static const Global globals[] = {
    {"collections", "OrderedDict", CALL_DICT, TN_UNDEFINED},
    {"torch._utils", "_rebuild_tensor", CALL_TENSOR, TN_UNDEFINED},
    {"torch._utils", "_rebuild_tensor_v2", CALL_TENSOR_V2, TN_UNDEFINED},
    {"torch._utils", "_rebuild_tensor_v3", CALL_TENSOR_V3, TN_UNDEFINED},
    {"torch._utils", "_rebuild_parameter", CALL_PARAMETER, TN_UNDEFINED},
    {"torch._utils", "_rebuild_parameter_with_state", CALL_PARAMETER, TN_UNDEFINED},
    {"torch", "Size", CALL_SIZE, TN_UNDEFINED},
    /* The options of a training run, which checkpoints carry beside the weights: an object without behaviour. */
    {"argparse", "Namespace", CALL_INERT, TN_UNDEFINED},
    {"torch.storage", "UntypedStorage", CALL_STORAGE, TN_UNDEFINED},
    {"torch", "UntypedStorage", CALL_STORAGE, TN_UNDEFINED},
    {"torch", "FloatStorage", CALL_STORAGE, TN_F32},
    {"torch", "DoubleStorage", CALL_STORAGE, TN_F64},
    {"torch", "HalfStorage", CALL_STORAGE, TN_F16},
    {"torch", "BFloat16Storage", CALL_STORAGE, TN_BF16},
    {"torch", "LongStorage", CALL_STORAGE, TN_I64},
    {"torch", "IntStorage", CALL_STORAGE, TN_I32},
    {"torch", "ShortStorage", CALL_STORAGE, TN_I16},
    {"torch", "CharStorage", CALL_STORAGE, TN_I8},
    {"torch", "ByteStorage", CALL_STORAGE, TN_U8},
    {"torch", "BoolStorage", CALL_STORAGE, TN_BOOL},
    {"torch", "float32", CALL_DTYPE, TN_F32},
    {"torch", "float64", CALL_DTYPE, TN_F64},
    {"torch", "float16", CALL_DTYPE, TN_F16},
    {"torch", "bfloat16", CALL_DTYPE, TN_BF16},
    {"torch", "int64", CALL_DTYPE, TN_I64},
    {"torch", "int32", CALL_DTYPE, TN_I32},
    {"torch", "int16", CALL_DTYPE, TN_I16},
    {"torch", "int8", CALL_DTYPE, TN_I8},
    {"torch", "uint8", CALL_DTYPE, TN_U8},
    {"torch", "uint16", CALL_DTYPE, TN_U16},
    {"torch", "uint32", CALL_DTYPE, TN_U32},
    {"torch", "uint64", CALL_DTYPE, TN_U64},
    {"torch", "bool", CALL_DTYPE, TN_BOOL},
};

typedef struct Machine {
    const PickleInput *in;
    TnError *err;
    size_t at, op; /* next byte; the current operation's */
    PickleValue **stack; /* NULL entries are marks */
    uint32_t n, cap;
    PickleValue **memo;
    uint32_t n_memo, cap_memo; /* ids in use end below n_memo */
    size_t copied;
} Machine;

#define BAD(m, ...) tni_raise_at((m)->err, TN_ERR_PARSE, (m)->op, __VA_ARGS__)
#define MALFORMED(m) BAD((m), "'%s': the pickle is damaged", (m)->in->name)

/* ---- bytes ---- */

static bool take(Machine *m, uint64_t n, const uint8_t **p) {
    if (n > m->in->text.n - m->at)
        return false;
    *p = m->in->text.p + m->at;
    m->at += (size_t)n;
    return true;
}

static TnStatus number(Machine *m, uint32_t bytes, uint64_t *out) {
    const uint8_t *p;
    *out = 0;
    if (!take(m, bytes, &p))
        return BAD(m, "'%s': the pickle ends early", m->in->name);
    for (uint32_t i = 0; i < bytes; i++)
        *out |= (uint64_t)p[i] << (8 * i);
    return TN_OK;
}

static TnStatus line(Machine *m, const char **text, uint32_t *n) {
    const uint8_t *p = m->in->text.p + m->at, *end = memchr(p, '\n', TN_MIN(m->in->text.n - m->at, (size_t)1024));
    *text = "";
    *n = 0;
    if (end == NULL)
        return MALFORMED(m);
    *text = (const char *)p;
    *n = (uint32_t)(end - p);
    m->at += *n + 1u;
    return TN_OK;
}

/* ---- stack ---- */

static TnStatus push(Machine *m, PickleValue *v) {
    if (m->n == MAX_STACK)
        return tni_raise_at(m->err, TN_ERR_LIMIT, m->op, "'%s': the pickle needs more than %u values at once", m->in->name, MAX_STACK);
    if (!TN_RESERVE_ONE(m->in->arena, m->stack, m->n, m->cap))
        return TN_OOM(m->err, m->n * sizeof *m->stack);
    m->stack[m->n++] = v;
    return TN_OK;
}

static PickleValue *make(Machine *m, PickleKind kind) {
    PickleValue *v = tni_arena_calloc(m->in->arena, 1, sizeof *v);
    if (v == NULL)
        TN_OOM(m->err, sizeof *v);
    else
        v->kind = kind;
    return v;
}

static TnStatus push_new(Machine *m, PickleKind kind, int64_t i) {
    PickleValue *v = make(m, kind);
    if (v == NULL)
        return TN_ERR_MEMORY;
    if (kind == PICKLE_BOOL || kind == PICKLE_INT || kind == PICKLE_GLOBAL)
        v->u.i = i;
    return push(m, v);
}

static TnStatus pop(Machine *m, PickleValue **v) {
    *v = NULL;
    if (m->n == 0 || m->stack[m->n - 1] == NULL)
        return MALFORMED(m);
    *v = m->stack[--m->n];
    return TN_OK;
}

/* The values above the last mark, which goes with them. */
static TnStatus pop_mark(Machine *m, PickleValue ***items, uint32_t *n) {
    uint32_t i = m->n;
    *items = NULL;
    *n = 0;
    while (i > 0 && m->stack[i - 1] != NULL)
        i--;
    if (i == 0)
        return MALFORMED(m);
    *items = m->stack + i;
    *n = m->n - i;
    m->n = i - 1;
    return TN_OK;
}

static TnStatus append(Machine *m, PickleValue *v, PickleValue *const *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (!TN_RESERVE_ONE(m->in->arena, v->u.items, v->n, v->cap))
            return TN_OOM(m->err, v->n * sizeof *v->u.items);
        v->u.items[v->n++] = items[i];
    }
    return TN_OK;
}

static TnStatus push_items(Machine *m, PickleKind kind, PickleValue *const *items, uint32_t n) {
    PickleValue *v = make(m, kind);
    if (v == NULL)
        return TN_ERR_MEMORY;
    TN_TRY(append(m, v, items, n));
    return push(m, v);
}

/* SETITEM(S), APPEND(S), ADDITEMS: to the container below. */
static TnStatus extend(Machine *m, PickleKind kind, PickleValue *const *items, uint32_t n) {
    PickleValue *v = m->n == 0 ? NULL : m->stack[m->n - 1];
    if (v == NULL || (kind == PICKLE_DICT && n % 2 != 0))
        return MALFORMED(m);
    if (v->kind == PICKLE_OBJECT) /* what an inert object holds is of no interest */
        return TN_OK;
    if (v->kind != kind)
        return MALFORMED(m);
    return append(m, v, items, n);
}

static TnStatus push_text(Machine *m, PickleKind kind, uint64_t n) {
    const uint8_t *p;
    if (!take(m, n, &p))
        return BAD(m, "'%s': the pickle ends early: a text of %llu bytes does not fit", m->in->name, (unsigned long long)n);
    if (n > UINT32_MAX)
        return tni_raise_at(m->err, TN_ERR_LIMIT, m->op, "'%s': a text of more than 4 GB", m->in->name);
    PickleValue *v = make(m, kind);
    if (v == NULL)
        return TN_ERR_MEMORY;
    char *copy = tni_arena_calloc(m->in->arena, (size_t)n + 1, 1);
    if (copy == NULL)
        return TN_OOM(m->err, (size_t)n);
    memcpy(copy, p, (size_t)n);
    v->u.text = copy;
    v->n = (uint32_t)n;
    return push(m, v);
}

/* ---- memo ---- */

static TnStatus memo_put(Machine *m, uint64_t id) {
    if (m->n == 0 || m->stack[m->n - 1] == NULL)
        return MALFORMED(m);
    if (id >= MAX_MEMO || id > m->in->text.n) /* ids count up from 0, one an operation at most */
        return BAD(m, "'%s': memo id %llu is out of range", m->in->name, (unsigned long long)id);
    while (m->n_memo <= id) {
        if (!TN_RESERVE_ONE(m->in->arena, m->memo, m->n_memo, m->cap_memo))
            return TN_OOM(m->err, m->n_memo * sizeof *m->memo);
        m->memo[m->n_memo++] = NULL;
    }
    m->memo[id] = m->stack[m->n - 1];
    return TN_OK;
}

static TnStatus memo_get(Machine *m, uint64_t id) {
    if (id >= m->n_memo || m->memo[id] == NULL)
        return MALFORMED(m);
    return push(m, m->memo[id]);
}

/* ---- globals and what they do ---- */

static TnStatus push_global(Machine *m, const char *module, uint32_t n_module, const char *name, uint32_t n_name) {
    for (uint32_t i = 0; i < TN_COUNT(globals); i++) {
        if (strlen(globals[i].module) == n_module && memcmp(globals[i].module, module, n_module) == 0 && strlen(globals[i].name) == n_name &&
            memcmp(globals[i].name, name, n_name) == 0)
            return push_new(m, PICKLE_GLOBAL, i);
    }
    return tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op,
                        "'%s': the pickle wants '%.*s.%.*s', and only tensors are read. In PyTorch, save the weights alone: "
                        "torch.save(model.state_dict(), FILE)",
                        m->in->name, (int)TN_MIN(n_module, 100u), module, (int)TN_MIN(n_name, 100u), name);
}

static const Global *global_of(const PickleValue *v) { return v->kind == PICKLE_GLOBAL ? &globals[v->u.i] : NULL; }

static bool int_of(const PickleValue *v, int64_t *out) {
    *out = v->kind == PICKLE_INT ? v->u.i : 0;
    return v->kind == PICKLE_INT;
}

static TnStatus bad_tensor(Machine *m, const char *why) {
    return tni_raise_at(m->err, TN_ERR_DATA, m->op, "'%s': a tensor of the pickle %s", m->in->name, why);
}

/* Element count of dims; offset of the last element over `strides`. false: negative, or overflow. */
static bool reach(const TnTensor *t, const int64_t *strides, int64_t *last) {
    int64_t step;
    *last = 0;
    for (int32_t i = 0; i < t->rank; i++) {
        if (t->dims[i] < 0 || strides[i] < 0)
            return false;
        if (t->dims[i] > 0 && (!tni_mul_i64(t->dims[i] - 1, strides[i], &step) || !tni_add_i64(*last, step, last)))
            return false;
    }
    return true;
}

static bool is_dense(const TnTensor *t, const int64_t *strides) {
    int64_t want = 1;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && strides[i] != want)
            return false;
        want *= t->dims[i];
    }
    return true;
}

static void gather(const TnTensor *t, const int64_t *strides, const uint8_t *src, uint8_t *dst, size_t elem, int64_t n) {
    int64_t index[TN_MAX_RANK] = {0}, at = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(dst + (size_t)i * elem, src + (size_t)at * elem, elem);
        for (int32_t d = t->rank - 1; d >= 0; d--) {
            at += strides[d];
            if (++index[d] < t->dims[d])
                break;
            at -= strides[d] * t->dims[d];
            index[d] = 0;
        }
    }
}

/* The tensor of elements offset + sum(index * stride) of a storage. */
static TnStatus view(Machine *m, const PickleStorage *s, TnTensor *t, int64_t offset, const int64_t *strides) {
    int64_t numel, last, end;
    size_t bytes, elem = tn_dtype_bits(t->dtype) / 8;
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, &numel, &bytes) || !reach(t, strides, &last))
        return bad_tensor(m, "has a negative or too large size or stride");
    if (numel == 0)
        return TN_OK;
    if (offset < 0 || !tni_add_i64(offset, last, &end) || (uint64_t)end >= s->bytes / elem)
        return bad_tensor(m, "reaches beyond its storage");
    const uint8_t *first = s->data + (size_t)offset * elem;
    if (is_dense(t, strides)) {
        t->data = (void *)(uintptr_t)first;
        return TN_OK;
    }
    if (bytes > m->in->copy_limit - m->copied)
        return tni_raise_at(m->err, TN_ERR_LIMIT, m->op, "'%s': views of storages grow beyond %zu bytes; save contiguous tensors", m->in->name,
                            m->in->copy_limit);
    m->copied += bytes;
    t->data = tni_arena_alloc_aligned(m->in->arena, bytes, 64);
    if (t->data == NULL)
        return TN_OOM(m->err, bytes);
    gather(t, strides, first, t->data, elem, numel);
    return TN_OK;
}

/* args: storage, offset, size, stride, [requires_grad, hooks [, dtype (v3), metadata]]. */
static TnStatus rebuild_tensor(Machine *m, const PickleValue *args, Call call, PickleValue **out) {
    int64_t offset, strides[TN_MAX_RANK];
    if (args->n < (call == CALL_TENSOR_V3 ? 7u : 4u) || args->u.items[0]->kind != PICKLE_STORAGE || !int_of(args->u.items[1], &offset) ||
        args->u.items[2]->kind != PICKLE_TUPLE || args->u.items[3]->kind != PICKLE_TUPLE || args->u.items[2]->n != args->u.items[3]->n)
        return bad_tensor(m, "is not given as storage, offset, size and stride");
    const PickleValue *size = args->u.items[2], *stride = args->u.items[3];
    PickleStorage s = args->u.items[0]->u.storage;
    if (call == CALL_TENSOR_V3) {
        const Global *g = global_of(args->u.items[6]);
        s.type = g != NULL && g->call == CALL_DTYPE ? g->type : TN_UNDEFINED;
    }
    if (s.type == TN_UNDEFINED)
        return bad_tensor(m, "has no element type");
    if (size->n > TN_MAX_RANK)
        return bad_tensor(m, "has too many dimensions");
    PickleValue *v = make(m, PICKLE_TENSOR);
    if (v == NULL || (v->u.tensor = tni_arena_calloc(m->in->arena, 1, sizeof *v->u.tensor)) == NULL)
        return TN_OOM(m->err, sizeof *v);
    *v->u.tensor = (TnTensor){.dtype = s.type, .rank = (int32_t)size->n};
    for (uint32_t i = 0; i < size->n; i++) {
        if (!int_of(size->u.items[i], &v->u.tensor->dims[i]) || !int_of(stride->u.items[i], &strides[i]))
            return bad_tensor(m, "has a size or stride that is no number");
    }
    *out = v;
    return view(m, &s, v->u.tensor, offset, strides);
}

static TnStatus reduce(Machine *m) {
    PickleValue *args, *f, *v = NULL;
    TN_TRY(pop(m, &args));
    TN_TRY(pop(m, &f));
    const Global *g = global_of(f);
    if (g == NULL || args->kind != PICKLE_TUPLE)
        return MALFORMED(m);
    switch (g->call) {
    case CALL_DICT:
        if (args->n != 0) /* old pickles give pairs to the constructor; state dicts never did */
            return tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op, "'%s': OrderedDict with arguments is not read", m->in->name);
        v = make(m, PICKLE_DICT);
        break;
    case CALL_TENSOR:
    case CALL_TENSOR_V2:
    case CALL_TENSOR_V3:
        TN_TRY(rebuild_tensor(m, args, g->call, &v));
        break;
    case CALL_PARAMETER:
        if (args->n < 1 || args->u.items[0]->kind != PICKLE_TENSOR)
            return MALFORMED(m);
        v = args->u.items[0];
        break;
    case CALL_SIZE:
        if (args->n != 1 || args->u.items[0]->kind != PICKLE_TUPLE)
            return MALFORMED(m);
        v = args->u.items[0];
        break;
    case CALL_INERT:
        v = make(m, PICKLE_OBJECT);
        break;
    case CALL_STORAGE:
    case CALL_DTYPE:
        return tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op, "'%s': the pickle calls '%s.%s', and only tensors are read", m->in->name, g->module, g->name);
    }
    return v == NULL ? TN_ERR_MEMORY : push(m, v);
}

/* NEWOBJ: class and arguments. */
static TnStatus new_object(Machine *m) {
    PickleValue *f = m->n >= 2 ? m->stack[m->n - 2] : NULL;
    const Global *g = f == NULL ? NULL : global_of(f);
    if (g == NULL || (g->call != CALL_INERT && g->call != CALL_DICT && g->call != CALL_SIZE))
        return MALFORMED(m);
    return reduce(m);
}

/* BUILD: attributes of an object. Dicts (a state dict's _metadata) and inert objects have none that matter. */
static TnStatus build(Machine *m) {
    PickleValue *state, *v = m->n >= 2 ? m->stack[m->n - 2] : NULL;
    TN_TRY(pop(m, &state));
    if (v == NULL || (v->kind != PICKLE_DICT && v->kind != PICKLE_OBJECT))
        return tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op, "'%s': the pickle sets attributes of what is no dictionary, and only tensors are read",
                            m->in->name);
    return TN_OK;
}

/* ('storage', class, key, device, elements) */
static TnStatus persistent(Machine *m) {
    PickleValue *id, *v = make(m, PICKLE_STORAGE);
    int64_t numel;
    size_t bytes;
    if (v == NULL)
        return TN_ERR_MEMORY;
    TN_TRY(pop(m, &id));
    const Global *g = id->kind == PICKLE_TUPLE && id->n >= 5 ? global_of(id->u.items[1]) : NULL;
    if (g == NULL || g->call != CALL_STORAGE || id->u.items[0]->kind != PICKLE_STRING || strcmp(id->u.items[0]->u.text, "storage") != 0 ||
        id->u.items[2]->kind != PICKLE_STRING || !int_of(id->u.items[4], &numel))
        return BAD(m, "'%s': a storage must be ('storage', class, key, device, number of elements)", m->in->name);
    if (!tni_shape_bytes(g->type == TN_UNDEFINED ? TN_U8 : g->type, 1, &numel, NULL, &bytes))
        return bad_tensor(m, "has a storage of a negative or too large size");
    TN_TRY(m->in->storage(m->in->ctx, id->u.items[2]->u.text, bytes, &v->u.storage, m->err));
    v->u.storage.bytes = bytes;
    v->u.storage.type = g->type;
    return push(m, v);
}

/* ---- operations ---- */

static TnStatus push_long(Machine *m, uint64_t n) {
    const uint8_t *p;
    if (!take(m, n, &p))
        return MALFORMED(m);
    uint64_t v = n > 0 && (p[n - 1] & 0x80) != 0 ? UINT64_MAX : 0;
    bool negative = v != 0;
    for (uint64_t i = 0; i < n && i < 8; i++)
        v = (v & ~((uint64_t)0xff << (8 * i))) | (uint64_t)p[i] << (8 * i);
    for (uint64_t i = 8; i < n; i++) {
        if (p[i] != (negative ? 0xff : 0))
            v = negative ? (uint64_t)INT64_MIN : (uint64_t)INT64_MAX;
    }
    if (!negative && v > (uint64_t)INT64_MAX)
        v = (uint64_t)INT64_MAX;
    return push_new(m, PICKLE_INT, (int64_t)v);
}

static TnStatus push_float(Machine *m) {
    const uint8_t *p;
    uint64_t bits = 0;
    PickleValue *v = make(m, PICKLE_FLOAT);
    if (v == NULL)
        return TN_ERR_MEMORY;
    if (!take(m, 8, &p))
        return MALFORMED(m);
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | p[i]; /* the one big-endian number of the format */
    memcpy(&v->u.f, &bits, 8);
    return push(m, v);
}

static TnStatus global_lines(Machine *m) {
    const char *module, *name;
    uint32_t n_module, n_name;
    TN_TRY(line(m, &module, &n_module));
    TN_TRY(line(m, &name, &n_name));
    return push_global(m, module, n_module, name, n_name);
}

static TnStatus stack_global(Machine *m) {
    PickleValue *module, *name;
    TN_TRY(pop(m, &name));
    TN_TRY(pop(m, &module));
    if (module->kind != PICKLE_STRING || name->kind != PICKLE_STRING)
        return MALFORMED(m);
    return push_global(m, module->u.text, module->n, name->u.text, name->n);
}

static TnStatus counted_text(Machine *m, PickleKind kind, uint32_t width) {
    uint64_t n;
    TN_TRY(number(m, width, &n));
    return push_text(m, kind, n);
}

static TnStatus number_op(Machine *m, uint32_t width, bool is_signed) {
    uint64_t n;
    TN_TRY(number(m, width, &n));
    return push_new(m, PICKLE_INT, is_signed ? (int64_t)(int32_t)(uint32_t)n : (int64_t)n);
}

static TnStatus memo_op(Machine *m, uint32_t width, TnStatus (*fn)(Machine *m, uint64_t id)) {
    uint64_t id;
    TN_TRY(number(m, width, &id));
    return fn(m, id);
}

static TnStatus tuple_of(Machine *m, uint32_t n) {
    if (m->n < n)
        return MALFORMED(m);
    for (uint32_t i = 1; i <= n; i++) {
        if (m->stack[m->n - i] == NULL)
            return MALFORMED(m);
    }
    m->n -= n;
    return push_items(m, PICKLE_TUPLE, m->stack + m->n, n);
}

static TnStatus marked(Machine *m, PickleKind kind, bool into) {
    PickleValue **items;
    uint32_t n;
    TN_TRY(pop_mark(m, &items, &n));
    if (into)
        return extend(m, kind, items, n);
    if (kind == PICKLE_DICT && n % 2 != 0)
        return MALFORMED(m);
    return push_items(m, kind, items, n);
}

static TnStatus one_into(Machine *m, PickleKind kind) {
    uint32_t n = kind == PICKLE_DICT ? 2 : 1;
    PickleValue *items[2];
    for (uint32_t i = n; i > 0; i--)
        TN_TRY(pop(m, &items[i - 1]));
    return extend(m, kind, items, n);
}

static TnStatus check_protocol(Machine *m) {
    uint64_t n;
    TN_TRY(number(m, 1, &n));
    return n <= 5 ? TN_OK : tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op, "'%s': pickle protocol %u; 2 to 5 are read", m->in->name, (unsigned)n);
}

static TnStatus long_op(Machine *m, uint32_t width) {
    uint64_t n;
    TN_TRY(number(m, width, &n));
    return push_long(m, n);
}

static TnStatus skip(Machine *m, uint32_t bytes) {
    uint64_t unused;
    return number(m, bytes, &unused);
}

static TnStatus drop(Machine *m, bool marks) {
    PickleValue **items;
    uint32_t n;
    if (marks)
        return pop_mark(m, &items, &n);
    if (m->n == 0)
        return MALFORMED(m);
    m->n--;
    return TN_OK;
}

static TnStatus step(Machine *m, uint8_t op) {
    switch (op) {
    case 0x80: return check_protocol(m);
    case 0x95: return skip(m, 8); /* FRAME: its length */
    case '(': return push(m, NULL);
    case '0': return drop(m, false);
    case '1': return drop(m, true);
    case '2': return m->n > 0 && m->stack[m->n - 1] != NULL ? push(m, m->stack[m->n - 1]) : MALFORMED(m);
    case 'N': return push_new(m, PICKLE_NONE, 0);
    case 0x88: return push_new(m, PICKLE_BOOL, 1);
    case 0x89: return push_new(m, PICKLE_BOOL, 0);
    case 'J': return number_op(m, 4, true);
    case 'K': return number_op(m, 1, false);
    case 'M': return number_op(m, 2, false);
    case 0x8a: return long_op(m, 1);
    case 0x8b: return long_op(m, 4);
    case 'G': return push_float(m);
    case 'X': return counted_text(m, PICKLE_STRING, 4);
    case 0x8c: return counted_text(m, PICKLE_STRING, 1);
    case 0x8d: return counted_text(m, PICKLE_STRING, 8);
    case 'T': return counted_text(m, PICKLE_STRING, 4); /* texts of Python 2 */
    case 'U': return counted_text(m, PICKLE_STRING, 1);
    case 'B': return counted_text(m, PICKLE_BYTES, 4);
    case 'C': return counted_text(m, PICKLE_BYTES, 1);
    case 0x8e: return counted_text(m, PICKLE_BYTES, 8);
    case 0x96: return counted_text(m, PICKLE_BYTES, 8);
    case ')': return push_items(m, PICKLE_TUPLE, NULL, 0);
    case 't': return marked(m, PICKLE_TUPLE, false);
    case 0x85: return tuple_of(m, 1);
    case 0x86: return tuple_of(m, 2);
    case 0x87: return tuple_of(m, 3);
    case ']': return push_items(m, PICKLE_LIST, NULL, 0);
    case 'l': return marked(m, PICKLE_LIST, false);
    case 'a': return one_into(m, PICKLE_LIST);
    case 'e': return marked(m, PICKLE_LIST, true);
    case '}': return push_items(m, PICKLE_DICT, NULL, 0);
    case 'd': return marked(m, PICKLE_DICT, false);
    case 's': return one_into(m, PICKLE_DICT);
    case 'u': return marked(m, PICKLE_DICT, true);
    case 0x8f: return push_items(m, PICKLE_SET, NULL, 0);
    case 0x90: return marked(m, PICKLE_SET, true);
    case 0x91: return marked(m, PICKLE_SET, false);
    case 'c': return global_lines(m);
    case 0x93: return stack_global(m);
    case 'R': return reduce(m);
    case 0x81: return new_object(m);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    case 'h': return memo_op(m, 1, memo_get);
    case 'j': return memo_op(m, 4, memo_get);
    case 'q': return memo_op(m, 1, memo_put);
    case 'r': return memo_op(m, 4, memo_put);
    case 0x94: return memo_put(m, m->n_memo);
    default:
        return tni_raise_at(m->err, TN_ERR_UNSUPPORTED, m->op, "'%s': pickle operation 0x%02x is not read", m->in->name, op);
    }
}

TnStatus tni_hf_pickle_read(const PickleInput *in, PickleValue **out, TnError *err) {
    Machine m = {.in = in, .err = err};
    *out = NULL;
    for (;;) {
        const uint8_t *p;
        m.op = m.at;
        if (!take(&m, 1, &p))
            return BAD(&m, "'%s': the pickle ends early", in->name);
        if (*p == '.')
            return pop(&m, out);
        TN_TRY(step(&m, *p));
    }
}

PickleValue *tni_hf_pickle_get(const PickleValue *v, const char *key) {
    PickleValue *found = NULL;
    for (uint32_t i = 0; v->kind == PICKLE_DICT && i + 1 < v->n; i += 2) {
        const PickleValue *k = v->u.items[i];
        if (k->kind == PICKLE_STRING && strcmp(k->u.text, key) == 0)
            found = v->u.items[i + 1];
    }
    return found;
}
