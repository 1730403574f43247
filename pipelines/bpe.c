/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to token ids. */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "pipelines/bpe_internal.h"
#include "pipelines/util.h"

#define MAX_TEXT ((size_t)1 << 30)

typedef enum Class { OTHER, LETTER, NUMBER, SPACE } Class;

/* Letters and numbers of Unicode 15.1 and 16.0, which the tokenizers know and utf8proc 2.8 does not. */
static const struct {
    uint32_t first, last;
    uint8_t class;
} newer[] = {
    {0x1c89, 0x1c8a, LETTER},   {0xa7cb, 0xa7cd, LETTER},   {0xa7da, 0xa7dc, LETTER},   {0x105c0, 0x105f3, LETTER},
    {0x10d40, 0x10d49, NUMBER}, {0x10d4a, 0x10d65, LETTER}, {0x10d6f, 0x10d85, LETTER}, {0x10ec2, 0x10ec4, LETTER},
    {0x11380, 0x11389, LETTER}, {0x1138b, 0x1138b, LETTER}, {0x1138e, 0x1138e, LETTER}, {0x11390, 0x113b5, LETTER},
    {0x113b7, 0x113b7, LETTER}, {0x113d1, 0x113d1, LETTER}, {0x113d3, 0x113d3, LETTER}, {0x116d0, 0x116e3, NUMBER},
    {0x11bc0, 0x11be0, LETTER}, {0x11bf0, 0x11bf9, NUMBER}, {0x13460, 0x143fa, LETTER}, {0x16100, 0x1611d, LETTER},
    {0x16130, 0x16139, NUMBER}, {0x16d40, 0x16d6c, LETTER}, {0x16d70, 0x16d79, NUMBER}, {0x18cff, 0x18cff, LETTER},
    {0x1ccf0, 0x1ccf9, NUMBER}, {0x1e5d0, 0x1e5ed, LETTER}, {0x1e5f0, 0x1e5f0, LETTER}, {0x1e5f1, 0x1e5fa, NUMBER},
    {0x2ebf0, 0x2ee5d, LETTER},
};

static bool is_space(uint32_t c) { /* property White_Space */
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static Class class_of(uint32_t c) {
    if (c < 0x80)
        return (c | 0x20) - 'a' < 26u ? LETTER : c - '0' < 10u ? NUMBER : is_space(c) ? SPACE : OTHER;
    if (is_space(c))
        return SPACE;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO)
        return LETTER;
    if (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO)
        return NUMBER;
    for (size_t i = 0; k == UTF8PROC_CATEGORY_CN && i < sizeof newer / sizeof *newer; i++) {
        if (c >= newer[i].first && c <= newer[i].last)
            return (Class)newer[i].class;
    }
    return OTHER;
}

/* Valid UTF-8 with the class of each character at its first byte. */
typedef struct Text {
    char *bytes;
    uint8_t *class; /* [n]; CONTINUED on other bytes */
    size_t n;
} Text;
#define CONTINUED 255

static void text_free(Text *t) {
    free(t->bytes);
    free(t->class);
}

static TnStatus text_init(Text *t, const char *s, size_t n, TnError *err) {
    *t = (Text){0};
    if (n > MAX_TEXT)
        return tnp_fail(err, TN_ERR_LIMIT, "a text of %zu bytes is too long; at most %zu are tokenized", n, MAX_TEXT);
    t->bytes = malloc(3 * n + 1); /* a wrong byte becomes three */
    t->class = malloc(3 * n + 1);
    if (t->bytes == NULL || t->class == NULL) {
        text_free(t);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a text of %zu bytes", n);
    }
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        const char *from = len > 0 ? s + i : "\xef\xbf\xbd";
        size_t m = len > 0 ? (size_t)len : 3;
        memcpy(t->bytes + t->n, from, m);
        memset(t->class + t->n, CONTINUED, m);
        t->class[t->n] = (uint8_t)(len > 0 ? class_of((uint32_t)c) : OTHER);
        t->n += m;
        i += len > 0 ? (size_t)len : 1;
    }
    return TN_OK;
}

static size_t step(const Text *t, size_t at, size_t end) {
    for (at++; at < end && t->class[at] == CONTINUED; at++) {
    }
    return at;
}

static size_t run_of(const Text *t, size_t at, size_t end, uint8_t class) {
    while (at < end && t->class[at] == class)
        at = step(t, at, end);
    return at;
}

static size_t contraction(const char *s, size_t n) {
    static const char *const ends[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; n > 1 && s[0] == '\'' && i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (k <= n && memcmp(s, ends[i], k) == 0)
            return k;
    }
    return 0;
}

/* End of the piece that starts at `at`: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t piece_end(const Text *t, size_t at, size_t end) {
    size_t k = contraction(t->bytes + at, end - at);
    if (k != 0)
        return at + k;
    size_t word = at + (t->bytes[at] == ' ');
    if (word < end && t->class[word] != SPACE)
        return run_of(t, word, end, t->class[word]);
    size_t stop = run_of(t, at, end, SPACE), last = stop;
    if (stop == end)
        return stop;
    do /* the last space before something else goes to that */
        last--;
    while (t->class[last] == CONTINUED);
    return last > at ? last : stop;
}

/* ---- merging ---- */

typedef struct Symbol {
    int32_t id;          /* -1: merged into the one before */
    uint32_t prev, next; /* NONE at the ends */
} Symbol;
#define NONE UINT32_MAX

typedef struct Candidate {
    uint32_t rank, at;
    int32_t made;
} Candidate;

typedef struct Merger {
    const TnBpe *b;
    Symbol *symbols;
    Candidate *heap;    /* least (rank, at) first */
    size_t n_heap, cap; /* cap of symbols; the heap holds three times as many */
} Merger;

static bool before(Candidate a, Candidate b) {
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(Merger *m, Candidate c) {
    size_t i = m->n_heap++;
    for (; i > 0 && before(c, m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
}

static Candidate pop(Merger *m) {
    Candidate top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k + 1 < m->n_heap && before(m->heap[k + 1], m->heap[k]))
            k++;
        if (k >= m->n_heap || !before(m->heap[k], last))
            break;
        m->heap[i] = m->heap[k];
        i = k;
    }
    m->heap[i] = last;
    return top;
}

static const BpeMerge *find_merge(const TnBpe *b, int32_t left, int32_t right) {
    for (uint32_t at = tnp_bpe_slot(b, left, right); b->merges[at].rank != 0; at = (at + 1) & b->merge_mask) {
        if (b->merges[at].left == left && b->merges[at].right == right)
            return &b->merges[at];
    }
    return NULL;
}

static void offer(Merger *m, uint32_t at) {
    if (at == NONE || m->symbols[at].next == NONE)
        return;
    const BpeMerge *found = find_merge(m->b, m->symbols[at].id, m->symbols[m->symbols[at].next].id);
    if (found != NULL)
        push(m, (Candidate){found->rank, at, found->made});
}

static bool reserve(Merger *m, size_t n) {
    if (n <= m->cap)
        return true;
    free(m->symbols);
    free(m->heap);
    m->symbols = malloc(n * sizeof *m->symbols);
    m->heap = malloc(3 * n * sizeof *m->heap); /* n - 1 at first, and two for each of at most n - 1 merges */
    m->cap = m->symbols == NULL || m->heap == NULL ? 0 : n;
    return m->cap != 0;
}

static bool append(TnTokens *out, int32_t id) {
    if (out->n == out->cap) {
        size_t cap = out->cap == 0 ? 256 : out->cap * 2;
        int32_t *grown = realloc(out->ids, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        out->ids = grown;
        out->cap = cap;
    }
    out->ids[out->n++] = id;
    return true;
}

/* One piece: its bytes, merged by rank until nothing merges. */
static bool merge_piece(Merger *m, const char *lead, size_t n_lead, const char *s, size_t n, TnTokens *out) {
    uint32_t count = 0;
    if (!reserve(m, n_lead + n))
        return false;
    for (size_t i = 0; i < n_lead + n; i++) {
        int32_t id = m->b->byte_id[(uint8_t)(i < n_lead ? lead[i] : s[i - n_lead])];
        id = id < 0 ? m->b->unknown : id;
        if (id >= 0) {
            m->symbols[count] = (Symbol){id, count - 1u, count + 1u}; /* of the first: prev is NONE */
            count++;
        }
    }
    if (count == 0)
        return true;
    m->symbols[count - 1].next = NONE;
    m->n_heap = 0;
    for (uint32_t i = 0; i + 1 < count; i++)
        offer(m, i);
    while (m->n_heap > 0) {
        Candidate c = pop(m);
        Symbol *left = &m->symbols[c.at];
        if (left->id < 0 || left->next == NONE)
            continue;
        Symbol *right = &m->symbols[left->next];
        const BpeMerge *now = find_merge(m->b, left->id, right->id);
        if (now == NULL || now->made != c.made) /* one of the two has become something else */
            continue;
        left->id = c.made;
        right->id = -1;
        left->next = right->next;
        if (left->next != NONE)
            m->symbols[left->next].prev = c.at;
        offer(m, left->prev);
        offer(m, c.at);
    }
    for (uint32_t i = 0; i != NONE; i = m->symbols[i].next) {
        if (!append(out, m->symbols[i].id))
            return false;
    }
    return true;
}

/* Text without special tokens. */
static bool encode_part(Merger *m, const Text *t, size_t at, size_t end, bool prefix_space, TnTokens *out) {
    if (at == end)
        return true;
    bool lead = prefix_space && t->bytes[at] != ' ';
    if (lead && t->class[at] == SPACE) { /* "\tx" has become " \tx": all but the last space are one piece */
        size_t stop = run_of(t, at, end, SPACE), last = stop;
        if (stop < end) {
            do
                last--;
            while (t->class[last] == CONTINUED);
        }
        if (!merge_piece(m, " ", 1, t->bytes + at, last - at, out))
            return false;
        at = last;
        lead = false;
    }
    while (at < end) {
        /* With a space in front no contraction is recognised. */
        size_t stop = lead ? run_of(t, at, end, t->class[at]) : piece_end(t, at, end);
        if (!merge_piece(m, " ", lead ? 1 : 0, t->bytes + at, stop - at, out))
            return false;
        lead = false;
        at = stop;
    }
    return true;
}

static const BpeSpecial *special_at(const TnBpe *b, const Text *t, size_t at) {
    for (uint32_t i = 0; i < b->n_specials; i++) {
        const BpeSpecial *s = &b->specials[i];
        if (s->n <= t->n - at && t->bytes[at] == s->text[0] && memcmp(t->bytes + at, s->text, s->n) == 0)
            return s;
    }
    return NULL;
}

static bool encode_text(Merger *m, const Text *t, bool prefix_space, TnTokens *out) {
    size_t from = 0, at = 0;
    while (at < t->n) {
        const BpeSpecial *s = special_at(m->b, t, at);
        if (s == NULL) {
            at++;
            continue;
        }
        size_t end = at, next = at + s->n;
        while (s->lstrip && end > from) {
            size_t last = end - 1;
            while (t->class[last] == CONTINUED)
                last--;
            if (t->class[last] != SPACE)
                break;
            end = last;
        }
        if (s->rstrip)
            next = run_of(t, next, t->n, SPACE);
        if (!encode_part(m, t, from, end, prefix_space, out) || !append(out, s->id))
            return false;
        from = at = next;
    }
    return encode_part(m, t, from, t->n, prefix_space, out);
}

TnStatus tn_bpe_encode(const TnBpe *bpe, const char *text, size_t n, bool prefix_space, TnTokens *out, TnError *err) {
    Text t;
    TnStatus st = text_init(&t, text, n, err);
    if (st != TN_OK)
        return st;
    Merger m = {.b = bpe};
    if (!encode_text(&m, &t, prefix_space, out))
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: the tokens of a text of %zu bytes", n);
    free(m.symbols);
    free(m.heap);
    text_free(&t);
    return st;
}
