/* SPDX-License-Identifier: Apache-2.0
 *
 * The pickle machine: a stack, a memo and a table of operations. */
#include "pipelines/pickle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/util.h"

#define MAX_STACK (1u << 22)
#define BLOCK ((size_t)64 * 1024)

struct TnpMachine {
    TnpPickle *p;
    const char *name;
    const uint8_t *text;
    size_t n, at, op; /* next byte; the current operation's */
    TnpValue **stack; /* NULL entries are marks */
    uint32_t n_stack, cap_stack;
    TnpValue **memo;
    uint32_t n_memo, cap_memo;
    bool done;
    TnError *err;
};

/* ---- memory ---- */

typedef struct Block {
    struct Block *next;
    size_t used, size;
    double align[];
} Block;

void *tnp_pickle_alloc(TnpPickle *p, size_t bytes) {
    Block *b = p->blocks;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > p->limit - p->bytes)
        return NULL;
    if (b == NULL || bytes > b->size - b->used) {
        size_t size = bytes > BLOCK ? bytes : BLOCK;
        b = calloc(1, sizeof *b + size + 16);
        if (b == NULL)
            return NULL;
        b->next = p->blocks;
        b->size = size;
        b->used = (size_t)(-(intptr_t)b->align & 15);
        b->size += b->used;
        p->blocks = b;
    }
    void *out = (char *)b->align + b->used;
    b->used += bytes;
    p->bytes += bytes;
    return out;
}

void tnp_pickle_free(TnpPickle *p) {
    for (Block *b = p->blocks, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    *p = (TnpPickle){0};
}

static TnStatus memory(TnpMachine *m) {
    if (m->p->limit - m->p->bytes < BLOCK)
        return tnp_fail(m->err, TN_ERR_LIMIT, "'%s' byte %zu: the pickle grows beyond %zu bytes", m->name, m->op, m->p->limit);
    return tnp_fail(m->err, TN_ERR_MEMORY, "'%s': out of memory", m->name);
}

static TnStatus damaged(TnpMachine *m) {
    return tnp_fail(m->err, TN_ERR_PARSE, "'%s' byte %zu: the pickle is damaged", m->name, m->op);
}

/* Room for one more in an array of pointers. */
static bool room(TnpMachine *m, TnpValue ***items, uint32_t n, uint32_t *cap) {
    if (n < *cap)
        return true;
    uint32_t wide = *cap == 0 ? 4 : *cap * 2;
    TnpValue **grown = wide < *cap ? NULL : tnp_pickle_alloc(m->p, wide * sizeof *grown);
    if (grown == NULL)
        return false;
    if (n > 0)
        memcpy(grown, *items, n * sizeof *grown);
    *items = grown;
    *cap = wide;
    return true;
}

/* ---- bytes ---- */

static bool take(TnpMachine *m, uint64_t n, const uint8_t **p) {
    *p = m->text + m->at;
    if (n > m->n - m->at)
        return false;
    m->at += (size_t)n;
    return true;
}

static bool number(TnpMachine *m, uint32_t bytes, uint64_t *out) {
    const uint8_t *p;
    *out = 0;
    if (!take(m, bytes, &p))
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        *out |= (uint64_t)p[i] << (8 * i);
    return true;
}

/* Up to the end of the line, which is left out. */
static bool line(TnpMachine *m, const char **text, size_t *n) {
    const uint8_t *p = m->text + m->at, *end = memchr(p, '\n', m->n - m->at);
    *text = (const char *)p;
    *n = end == NULL ? 0 : (size_t)(end - p);
    m->at += end == NULL ? 0 : *n + 1;
    return end != NULL;
}

/* ---- stack ---- */

static TnStatus push(TnpMachine *m, TnpValue *v) {
    if (m->n_stack == MAX_STACK)
        return tnp_fail(m->err, TN_ERR_LIMIT, "'%s' byte %zu: the pickle needs more than %u values at once", m->name, m->op, MAX_STACK);
    if (!room(m, &m->stack, m->n_stack, &m->cap_stack))
        return memory(m);
    m->stack[m->n_stack++] = v;
    return TN_OK;
}

static TnStatus push_value(TnpMachine *m, TnpValue value) {
    TnpValue *v = tnp_pickle_alloc(m->p, sizeof *v);
    if (v == NULL)
        return memory(m);
    *v = value;
    return push(m, v);
}

static TnpValue *top(const TnpMachine *m, uint32_t below) { return m->n_stack > below ? m->stack[m->n_stack - 1 - below] : NULL; }

static TnStatus append(TnpMachine *m, TnpValue *to, TnpValue *const *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (items[i] == NULL)
            return damaged(m);
        if (!room(m, &to->u.items, to->n, &to->cap))
            return memory(m);
        to->u.items[to->n++] = items[i];
    }
    return TN_OK;
}

/* The top n values as a new container. */
static TnStatus collect(TnpMachine *m, TnpKind kind, uint32_t n, bool mark) {
    TnpValue *v = tnp_pickle_alloc(m->p, sizeof *v);
    if (n > m->n_stack || (kind == TNP_DICT && n % 2 != 0))
        return damaged(m);
    if (v == NULL)
        return memory(m);
    v->kind = kind;
    TnStatus st = n == 0 ? TN_OK : append(m, v, m->stack + (m->n_stack - n), n);
    m->n_stack -= n + mark;
    return st == TN_OK ? push(m, v) : st;
}

/* Values above the last mark; UINT32_MAX: there is none. */
static uint32_t marked(const TnpMachine *m) {
    for (uint32_t i = m->n_stack; i > 0; i--) {
        if (m->stack[i - 1] == NULL)
            return m->n_stack - i;
    }
    return UINT32_MAX;
}

/* The top n values go into the container below them (and their mark). */
static TnStatus extend(TnpMachine *m, TnpKind kind, uint32_t n, bool mark) {
    if (n == UINT32_MAX || n + mark >= m->n_stack || (kind == TNP_DICT && n % 2 != 0))
        return damaged(m);
    TnpValue *to = m->stack[m->n_stack - n - mark - 1];
    if (to == NULL || to->kind != kind)
        return damaged(m);
    TnStatus st = n == 0 ? TN_OK : append(m, to, m->stack + (m->n_stack - n), n);
    m->n_stack -= n + mark;
    return st;
}

/* ---- texts ---- */

static TnStatus push_text(TnpMachine *m, TnpKind kind, uint32_t width) {
    uint64_t n;
    const uint8_t *p;
    if (!number(m, width, &n) || !take(m, n, &p) || n > UINT32_MAX)
        return tnp_fail(m->err, TN_ERR_PARSE, "'%s' byte %zu: the pickle ends early", m->name, m->op);
    return push_value(m, (TnpValue){.kind = kind, .n = (uint32_t)n, .u.text = (const char *)p});
}

static uint32_t hex_digits(const char *s, size_t n, uint32_t *value) {
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t d = (uint32_t)(s[i] >= '0' && s[i] <= '9' ? s[i] - '0' : (s[i] | 32) >= 'a' && (s[i] | 32) <= 'f' ? (s[i] | 32) - 'a' + 10 : 99);
        if (d > 15)
            return 0;
        *value = *value << 4 | d;
    }
    return (uint32_t)n;
}

static uint32_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    uint32_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf0u << (4 - n)) | c);
    return n;
}

/* A line of protocol 0: of str, Python's quoted form; of unicode, raw Latin-1 with \uXXXX. */
static TnStatus push_line(TnpMachine *m, bool quoted) {
    const char *s;
    size_t n, k = 0;
    if (!line(m, &s, &n))
        return damaged(m);
    if (quoted && (n < 2 || (s[0] != '\'' && s[0] != '"') || s[n - 1] != s[0]))
        return damaged(m);
    if (quoted) {
        s++;
        n -= 2;
    }
    char *out = tnp_pickle_alloc(m->p, 2 * n + 4);
    if (out == NULL || n > UINT32_MAX / 2)
        return memory(m);
    for (size_t i = 0; i < n; i++) {
        static const char names[] = "n\nr\rt\ta\ab\bf\fv\v\\\\'\'\"\"";
        const char *found = i + 1 < n ? strchr("nrtabfv\\'\"", s[i + 1]) : NULL;
        uint32_t c, wide = i + 1 < n && s[i] == '\\' ? (s[i + 1] == 'u' ? 4u : s[i + 1] == 'U' ? 8u : s[i + 1] == 'x' ? 2u : 0u) : 0u;
        bool hex = wide != 0 && quoted == (wide == 2) && i + 2 + wide <= n && hex_digits(s + i + 2, wide, &c) != 0;
        if (hex && (quoted || c < 0x110000)) {
            if (quoted)
                out[k++] = (char)c;
            else
                k += put_utf8(out + k, c);
            i += wide + 1;
        } else if (quoted && s[i] == '\\' && found != NULL && s[i + 1] != '\0') {
            out[k++] = strchr(names, s[i + 1])[1];
            i++;
        } else if (quoted) {
            out[k++] = s[i];
        } else {
            k += put_utf8(out + k, (uint8_t)s[i]);
        }
    }
    return push_value(m, (TnpValue){.kind = TNP_TEXT, .n = (uint32_t)k, .u.text = out});
}

/* ---- numbers ---- */

/* Digits of a line: "12", "12L", "01" and "00" (bool, protocol 0). */
static TnStatus push_decimal(TnpMachine *m, bool real) {
    const char *s;
    char copy[64], *end;
    size_t n;
    if (!line(m, &s, &n) || n == 0 || n >= sizeof copy)
        return damaged(m);
    memcpy(copy, s, n);
    copy[n] = '\0';
    if (real) {
        double f = strtod(copy, &end);
        return *end != '\0' ? damaged(m) : push_value(m, (TnpValue){.kind = TNP_FLOAT, .u.f = f});
    }
    if (strcmp(copy, "00") == 0 || strcmp(copy, "01") == 0)
        return push_value(m, (TnpValue){.kind = TNP_BOOL, .u.i = copy[1] - '0'});
    long long i = strtoll(copy, &end, 10); /* saturates */
    if (end == copy || (*end != '\0' && strcmp(end, "L") != 0))
        return damaged(m);
    return push_value(m, (TnpValue){.kind = TNP_INT, .u.i = i});
}

static TnStatus push_int(TnpMachine *m, uint32_t bytes) {
    uint64_t v;
    if (!number(m, bytes, &v))
        return damaged(m);
    return push_value(m, (TnpValue){.kind = TNP_INT, .u.i = bytes == 4 ? (int32_t)v : (int64_t)v});
}

static TnStatus push_long(TnpMachine *m, uint32_t width) {
    uint64_t n, v = 0;
    const uint8_t *p;
    if (!number(m, width, &n) || !take(m, n, &p))
        return damaged(m);
    bool negative = n > 0 && p[n - 1] >= 128;
    for (uint64_t i = 0; i < 8; i++)
        v |= (uint64_t)(i < n ? p[i] : negative ? 255 : 0) << (8 * i);
    bool fits = n <= 8;
    for (uint64_t i = 8; i < n && !fits; i++)
        fits = false;
    return push_value(m, (TnpValue){.kind = TNP_INT, .u.i = fits ? (int64_t)v : negative ? INT64_MIN : INT64_MAX});
}

static TnStatus push_double(TnpMachine *m) {
    const uint8_t *p;
    uint64_t bits = 0;
    double f;
    if (!take(m, 8, &p))
        return damaged(m);
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    memcpy(&f, &bits, sizeof f);
    return push_value(m, (TnpValue){.kind = TNP_FLOAT, .u.f = f});
}

/* ---- memo ---- */

static TnStatus memo_put(TnpMachine *m, uint64_t id) {
    TnpValue *v = top(m, 0);
    if (v == NULL || id > m->n) /* ids count up, one an operation at most */
        return damaged(m);
    while (m->n_memo <= id) {
        if (!room(m, &m->memo, m->n_memo, &m->cap_memo))
            return memory(m);
        m->memo[m->n_memo++] = NULL;
    }
    m->memo[id] = v;
    return TN_OK;
}

static TnStatus memo_get(TnpMachine *m, uint64_t id) { return id >= m->n_memo || m->memo[id] == NULL ? damaged(m) : push(m, m->memo[id]); }

static bool line_id(TnpMachine *m, uint64_t *id) {
    const char *s;
    size_t n;
    *id = 0;
    if (!line(m, &s, &n) || n == 0 || n > 9)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *id = *id * 10 + (uint64_t)(s[i] - '0');
    }
    return true;
}

/* ---- globals ---- */

static TnStatus push_global(TnpMachine *m, const char *module, size_t n_module, const char *name, size_t n_name) {
    int at = tnp_numpy_global(module, n_module, name, n_name);
    if (at >= 0)
        return push_value(m, (TnpValue){.kind = TNP_GLOBAL, .u.i = at});
    return tnp_fail(m->err, TN_ERR_UNSUPPORTED, "'%s' byte %zu: the pickle wants '%.*s.%.*s'; only plain data and NumPy arrays are read, nothing is called",
                    m->name, m->op, (int)(n_module < 100 ? n_module : 100), module, (int)(n_name < 100 ? n_name : 100), name);
}

static TnStatus stack_global(TnpMachine *m) {
    const TnpValue *name = top(m, 0), *module = top(m, 1);
    if (name == NULL || module == NULL || name->kind != TNP_TEXT || module->kind != TNP_TEXT)
        return damaged(m);
    m->n_stack -= 2;
    return push_global(m, module->u.text, module->n, name->u.text, name->n);
}

static TnStatus call(TnpMachine *m) {
    TnpValue *args = top(m, 0), *f = top(m, 1), *out = NULL;
    if (args == NULL || f == NULL || args->kind != TNP_TUPLE || f->kind != TNP_GLOBAL)
        return damaged(m);
    if (!tnp_numpy_call(m->p, f->u.i, args, &out))
        return tnp_fail(m->err, TN_ERR_PARSE, "'%s' byte %zu: the pickle rebuilds an array in a way that NumPy does not", m->name, m->op);
    m->n_stack -= 2;
    return out == NULL ? memory(m) : push(m, out);
}

static TnStatus build(TnpMachine *m) {
    TnpValue *state = top(m, 0), *object = top(m, 1);
    if (state == NULL || object == NULL)
        return damaged(m);
    if (!tnp_numpy_build(m->p, object, state))
        return tnp_fail(m->err, TN_ERR_PARSE, "'%s' byte %zu: an array of the pickle has a state, element type or number of bytes that NumPy does not write",
                        m->name, m->op);
    m->n_stack--;
    return TN_OK;
}

/* ---- operations ---- */

/* Those with a number of fixed width, or none, behind them: what they do is one call. */
static TnStatus container(TnpMachine *m, uint8_t op) {
    uint32_t n = strchr("tldu e1\x90\x91", op) != NULL && op != ' ' ? marked(m) : 0;
    if (n == UINT32_MAX)
        return damaged(m);
    switch (op) {
    case ')': return collect(m, TNP_TUPLE, 0, false);
    case ']': return collect(m, TNP_LIST, 0, false);
    case '}': return collect(m, TNP_DICT, 0, false);
    case 0x8f: return collect(m, TNP_SET, 0, false);
    case 0x85: return collect(m, TNP_TUPLE, 1, false);
    case 0x86: return collect(m, TNP_TUPLE, 2, false);
    case 0x87: return collect(m, TNP_TUPLE, 3, false);
    case 't': return collect(m, TNP_TUPLE, n, true);
    case 'l': return collect(m, TNP_LIST, n, true);
    case 'd': return collect(m, TNP_DICT, n, true);
    case 0x91: return collect(m, TNP_SET, n, true);
    case 'a': return extend(m, TNP_LIST, 1, false);
    case 's': return extend(m, TNP_DICT, 2, false);
    case 'e': return extend(m, TNP_LIST, n, true);
    case 'u': return extend(m, TNP_DICT, n, true);
    case 0x90: return extend(m, TNP_SET, n, true);
    case '1': m->n_stack -= n + 1; return TN_OK;
    default: return damaged(m);
    }
}

static TnStatus step(TnpMachine *m) {
    uint64_t v = 0;
    const char *s, *t;
    size_t n, k;
    const uint8_t op = m->text[m->at++];
    switch (op) {
    case 0x80: return number(m, 1, &v) && v <= 5 ? TN_OK : damaged(m);
    case 0x95: return number(m, 8, &v) ? TN_OK : damaged(m); /* frames are for streams */
    case '.': m->done = true; return TN_OK;
    case '(': return push(m, NULL);
    case '0':
        if (m->n_stack == 0)
            return damaged(m);
        m->n_stack--;
        return TN_OK;
    case '2': return top(m, 0) == NULL ? damaged(m) : push(m, top(m, 0));
    case 'N': return push_value(m, (TnpValue){.kind = TNP_NONE});
    case 0x88:
    case 0x89: return push_value(m, (TnpValue){.kind = TNP_BOOL, .u.i = op == 0x88});
    case 'I':
    case 'L': return push_decimal(m, false);
    case 'F': return push_decimal(m, true);
    case 'J': return push_int(m, 4);
    case 'K': return push_int(m, 1);
    case 'M': return push_int(m, 2);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_double(m);
    case 'S':
    case 'V': return push_line(m, op == 'S');
    case 'U': return push_text(m, TNP_TEXT, 1);
    case 'T': return push_text(m, TNP_TEXT, 4);
    case 0x8c: return push_text(m, TNP_TEXT, 1);
    case 'X': return push_text(m, TNP_TEXT, 4);
    case 0x8d: return push_text(m, TNP_TEXT, 8);
    case 'C': return push_text(m, TNP_BYTES, 1);
    case 'B': return push_text(m, TNP_BYTES, 4);
    case 0x8e:
    case 0x96: return push_text(m, TNP_BYTES, 8);
    case 'p': return line_id(m, &v) ? memo_put(m, v) : damaged(m);
    case 'q': return number(m, 1, &v) ? memo_put(m, v) : damaged(m);
    case 'r': return number(m, 4, &v) ? memo_put(m, v) : damaged(m);
    case 0x94: return memo_put(m, m->n_memo);
    case 'g': return line_id(m, &v) ? memo_get(m, v) : damaged(m);
    case 'h': return number(m, 1, &v) ? memo_get(m, v) : damaged(m);
    case 'j': return number(m, 4, &v) ? memo_get(m, v) : damaged(m);
    case 'c': return line(m, &s, &n) && line(m, &t, &k) ? push_global(m, s, n, t, k) : damaged(m);
    case 0x93: return stack_global(m);
    case 'R':
    case 0x81: return call(m);
    case 'b': return build(m);
    default: break;
    }
    if (op != '\0' && strchr(")]}tldaseu1\x85\x86\x87\x8f\x90\x91", op) != NULL)
        return container(m, op);
    return tnp_fail(m->err, TN_ERR_UNSUPPORTED, "'%s' byte %zu: pickle operation 0x%02x is not read; only plain data and NumPy arrays are", m->name, m->op, op);
}

TnStatus tnp_pickle_read(const void *data, size_t n, const char *name, TnpPickle *out, TnError *err) {
    TnpMachine m = {.p = out, .name = name, .text = data, .n = n, .err = err};
    TnStatus st = TN_OK;
    *out = (TnpPickle){.limit = (n > SIZE_MAX / 512 ? SIZE_MAX / 2 : n * 256) + ((size_t)1 << 20)};
    while (st == TN_OK && !m.done) {
        m.op = m.at;
        st = m.at == n ? tnp_fail(err, TN_ERR_PARSE, "'%s': the pickle ends after %zu bytes without its end mark", name, n) : step(&m);
    }
    if (st == TN_OK && (m.n_stack != 1 || m.stack[0] == NULL))
        st = damaged(&m);
    if (st == TN_OK)
        out->root = m.stack[0];
    else
        tnp_pickle_free(out);
    return st;
}

/* ---- access ---- */

bool tnp_pickle_is_text(const TnpValue *v, const char *text) {
    size_t n = strlen(text);
    return (v->kind == TNP_TEXT || v->kind == TNP_BYTES) && v->n == n && memcmp(v->u.text, text, n) == 0;
}

const TnpValue *tnp_pickle_get(const TnpValue *v, const char *key) {
    for (uint32_t i = v != NULL && v->kind == TNP_DICT ? v->n : 0; i >= 2; i -= 2) { /* of equal keys the last counts */
        if (tnp_pickle_is_text(v->u.items[i - 2], key))
            return v->u.items[i - 1];
    }
    return NULL;
}

bool tnp_pickle_number(const TnpValue *v, double *out) {
    char copy[64], *end;
    *out = 0;
    if (v == NULL)
        return false;
    if (v->kind == TNP_INT)
        *out = (double)v->u.i;
    else if (v->kind == TNP_FLOAT)
        *out = v->u.f;
    else if ((v->kind != TNP_TEXT && v->kind != TNP_BYTES) || v->n == 0 || v->n >= sizeof copy)
        return false;
    else {
        memcpy(copy, v->u.text, v->n);
        copy[v->n] = '\0';
        *out = strtod(copy, &end);
        return *end == '\0';
    }
    return true;
}

bool tnp_pickle_int(const TnpValue *v, int64_t *out) {
    double f;
    *out = v != NULL && v->kind == TNP_INT ? v->u.i : 0;
    if (v != NULL && v->kind == TNP_INT)
        return true;
    if (!tnp_pickle_number(v, &f) || !(f >= -9e15 && f <= 9e15) || f != (double)(int64_t)f)
        return false;
    *out = (int64_t)f;
    return true;
}
