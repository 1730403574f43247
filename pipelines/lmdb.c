/* SPDX-License-Identifier: Apache-2.0
 *
 * The B+tree of an LMDB file. */
#include "pipelines/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipelines/util.h"

#define MAX_DEPTH 32
#define MAX_VALUE ((size_t)1 << 30)
#define HEADER 16u /* of a page: number (8), pad (2), flags (2), lower and upper (2, 2) or the pages of an overflow run (4) */
#define NODE 8u    /* of a node: low and high half of a size or page (2, 2), flags (2), key size (2) */
#define NO_PAGE UINT64_MAX

enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8 };
enum { F_BIG = 1, F_SUB = 2, F_DUP = 4 };

struct TnLmdb {
    int fd;
    char *path;
    uint32_t page_size;
    uint64_t pages, root, entries;
    uint32_t depth;
    uint8_t *level[MAX_DEPTH]; /* a page buffer a level of the tree */
};

static uint64_t get(const uint8_t *p, uint32_t bytes) {
    uint64_t v = 0;
    for (uint32_t i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static TnStatus damaged(const TnLmdb *db, uint64_t page, const char *why, TnError *err) {
    return tnp_fail(err, TN_ERR_PARSE, "'%s' page %llu: %s; the database is damaged", db->path, (unsigned long long)page, why);
}

static TnStatus read_at(const TnLmdb *db, void *to, size_t n, uint64_t at, TnError *err) {
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(db->fd, (char *)to + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return tnp_fail(err, TN_ERR_IO, "'%s' cannot be read: %s", db->path, strerror(errno));
        if (k == 0)
            return damaged(db, (at + done) / db->page_size, "the file ends here", err);
        done += (size_t)k;
    }
    return TN_OK;
}

/* A page of the tree into the buffer of its level; its nodes are within it. */
static TnStatus read_page(TnLmdb *db, uint64_t page, uint32_t level, TnError *err) {
    if (page < 2 || page >= db->pages)
        return damaged(db, page, "there is no such page", err);
    if (db->level[level] == NULL && (db->level[level] = malloc(db->page_size)) == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a page");
    TnStatus st = read_at(db, db->level[level], db->page_size, page * db->page_size, err);
    if (st != TN_OK)
        return st;
    const uint8_t *p = db->level[level];
    uint64_t flags = get(p + 10, 2), lower = get(p + 12, 2);
    bool leaf = level + 1 == db->depth;
    if (get(p, 8) != page || (flags & (P_BRANCH | P_LEAF | P_OVERFLOW | P_META)) != (leaf ? P_LEAF : P_BRANCH))
        return damaged(db, page, leaf ? "it is no leaf" : "it is no branch", err);
    if (lower < HEADER || lower > db->page_size || lower % 2 != 0)
        return damaged(db, page, "its nodes do not fit", err);
    return TN_OK;
}

typedef struct Node {
    const uint8_t *key, *data;
    size_t n_key;
    uint64_t value; /* bytes of the value, or the page of a branch */
    uint32_t flags;
} Node;

static uint32_t node_count(const TnLmdb *db, uint32_t level) { return (uint32_t)(get(db->level[level] + 12, 2) - HEADER) / 2; }

static TnStatus read_node(const TnLmdb *db, uint32_t level, uint32_t i, Node *out, TnError *err) {
    const uint8_t *p = db->level[level];
    const uint64_t page = get(p, 8), at = get(p + HEADER + 2 * i, 2);
    bool leaf = level + 1 == db->depth;
    if (at < HEADER || at + NODE > db->page_size)
        return damaged(db, page, "a node begins outside of it", err);
    const uint8_t *node = p + at;
    *out = (Node){.key = node + NODE, .n_key = (size_t)get(node + 6, 2), .flags = (uint32_t)get(node + 4, 2)};
    out->value = get(node, 4) | (leaf ? 0 : (uint64_t)out->flags << 32);
    if (at + NODE + out->n_key > db->page_size)
        return damaged(db, page, "a key ends outside of it", err);
    out->data = out->key + out->n_key;
    size_t inside = !leaf ? 0 : out->flags & F_BIG ? 8 : (size_t)out->value;
    if (inside > db->page_size - (at + NODE + out->n_key))
        return damaged(db, page, "a value ends outside of it", err);
    return TN_OK;
}

static int compare(const char *a, size_t na, const Node *b) {
    int c = memcmp(a, b->key, na < b->n_key ? na : b->n_key);
    return c != 0 ? c : na < b->n_key ? -1 : na > b->n_key;
}

/* The value of a leaf's node into heap memory. */
static TnStatus read_value(const TnLmdb *db, const Node *node, void **value, size_t *n, TnError *err) {
    uint8_t head[HEADER];
    if (node->flags & (F_SUB | F_DUP))
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': a value is a database of its own (sorted duplicates), which is not read", db->path);
    if (node->value > MAX_VALUE)
        return tnp_fail(err, TN_ERR_LIMIT, "'%s': a value has %llu bytes; at most %zu are read", db->path, (unsigned long long)node->value, MAX_VALUE);
    *n = (size_t)node->value;
    uint64_t page = node->flags & F_BIG ? get(node->data, 8) : 0;
    if (node->flags & F_BIG) {
        uint64_t run = (*n + HEADER + db->page_size - 1) / db->page_size;
        if (page < 2 || page >= db->pages || run > db->pages - page)
            return damaged(db, page, "a value lies outside of the file", err);
        TnStatus st = read_at(db, head, sizeof head, page * db->page_size, err);
        if (st != TN_OK)
            return st;
        if (get(head, 8) != page || !(get(head + 10, 2) & P_OVERFLOW) || get(head + 12, 4) < run)
            return damaged(db, page, "it holds no value of this size", err);
    }
    *value = malloc(*n + 1);
    if (*value == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu bytes", *n);
    TnStatus st = TN_OK;
    if (node->flags & F_BIG)
        st = read_at(db, *value, *n, page * db->page_size + HEADER, err);
    else
        memcpy(*value, node->data, *n);
    if (st != TN_OK) {
        free(*value);
        *value = NULL;
    }
    return st;
}

TnStatus tn_lmdb_get(TnLmdb *db, const char *key, size_t n_key, void **value, size_t *n, TnError *err) {
    uint64_t page = db->root;
    Node node;
    *value = NULL;
    *n = 0;
    for (uint32_t level = 0; level < db->depth; level++) {
        const bool leaf = level + 1 == db->depth;
        TnStatus st = read_page(db, page, level, err);
        if (st != TN_OK)
            return st;
        /* Of a leaf the node with the key, of a branch the last that is not above it; the first key of a branch counts as below all. */
        uint32_t low = leaf ? 0 : 1, high = node_count(db, level);
        if (high == 0)
            return damaged(db, page, "it is empty", err);
        while (low < high) {
            uint32_t mid = low + (high - low) / 2;
            st = read_node(db, level, mid, &node, err);
            if (st != TN_OK)
                return st;
            int c = compare(key, n_key, &node);
            if (leaf && c == 0)
                return read_value(db, &node, value, n, err);
            if (c < 0)
                high = mid;
            else
                low = mid + 1;
        }
        if (leaf)
            return TN_OK;
        st = read_node(db, level, low - 1, &node, err);
        if (st != TN_OK)
            return st;
        page = node.value;
    }
    return TN_OK;
}

TnStatus tn_lmdb_keys(TnLmdb *db, int (*fn)(void *ctx, const char *key, size_t n), void *ctx, TnError *err) {
    uint32_t at[MAX_DEPTH] = {0}, level = 0;
    uint64_t seen = 0;
    Node node;
    if (db->depth == 0)
        return TN_OK;
    TnStatus st = read_page(db, db->root, 0, err);
    while (st == TN_OK) {
        if (at[level] == node_count(db, level)) {
            if (level == 0)
                break;
            at[--level]++;
            continue;
        }
        st = read_node(db, level, at[level], &node, err);
        if (st != TN_OK)
            break;
        if (level + 1 < db->depth) {
            st = read_page(db, node.value, ++level, err);
            at[level] = 0;
            continue;
        }
        if (seen++ >= db->entries) /* a damaged tree may go in circles */
            return damaged(db, get(db->level[level], 8), "the tree has more keys than it should", err);
        if (fn(ctx, (const char *)node.key, node.n_key) == 0)
            break;
        at[level]++;
    }
    return st;
}

/* One of the two meta pages at p. */
static bool read_meta(const uint8_t *p, uint64_t *transaction) {
    *transaction = get(p + HEADER + 128, 8);
    return (get(p + 10, 2) & P_META) && get(p + HEADER, 4) == 0xbeefc0de;
}

/* meta (at byte 16): magic 4, version 4, address 8, map size 8, two databases of 48 (pad 4, flags 2, depth 2, branch, leaf and overflow pages 8 each,
 * entries 8, root 8), last page 8, transaction 8. The first database is that of free pages; its pad is the page size. */
static TnStatus read_head(TnLmdb *db, TnError *err) {
    uint8_t first[HEADER + 136], second[HEADER + 136], *meta = first;
    uint64_t a, b;
    struct stat info;
    db->page_size = 4096; /* for messages until it is known */
    if (fstat(db->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return tnp_fail(err, TN_ERR_IO, "'%s' is not a regular file", db->path);
    if ((uint64_t)info.st_size < sizeof first)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' has %lld bytes: it is no LMDB database", db->path, (long long)info.st_size);
    TnStatus st = read_at(db, first, sizeof first, 0, err);
    if (st != TN_OK)
        return st;
    if (!read_meta(first, &a))
        return tnp_fail(err, get(first + HEADER, 4) == 0xdec0efbe ? TN_ERR_UNSUPPORTED : TN_ERR_PARSE,
                        "'%s' is no LMDB database of a 64-bit little-endian machine (its mark is missing)", db->path);
    if (get(first + HEADER + 4, 4) != 1)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': LMDB format %llu; only 1 is read", db->path, (unsigned long long)get(first + HEADER + 4, 4));
    uint64_t size = get(first + HEADER + 24, 4);
    if (size < 256 || size > 65536 || (size & (size - 1)) != 0)
        return damaged(db, 0, "the page size is no power of two from 256 to 65536", err);
    db->page_size = (uint32_t)size;
    db->pages = (uint64_t)info.st_size / size;
    if (db->pages >= 2) {
        st = read_at(db, second, sizeof second, size, err);
        if (st != TN_OK)
            return st;
        if (read_meta(second, &b) && b > a)
            meta = second;
    }
    const uint8_t *main_db = meta + HEADER + 24 + 48;
    uint64_t flags = get(main_db + 4, 2);
    db->depth = (uint32_t)get(main_db + 6, 2);
    db->entries = get(main_db + 32, 8);
    db->root = get(main_db + 40, 8);
    if (flags & 0x3e) /* reverse keys, sorted duplicates, integer keys and their combinations */
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "'%s': the database has flags 0x%llx; plain keys are read", db->path, (unsigned long long)flags);
    if (db->root == NO_PAGE)
        db->depth = 0;
    if (db->depth > MAX_DEPTH || (db->root != NO_PAGE && db->depth == 0))
        return damaged(db, meta == first ? 0 : 1, "the depth of the tree is wrong", err);
    return TN_OK;
}

TnStatus tn_lmdb_open(const char *path, TnLmdb **out, TnError *err) {
    TnLmdb *db = calloc(1, sizeof *db);
    struct stat info;
    *out = NULL;
    if (db != NULL && (db->path = malloc(strlen(path) + 16)) == NULL) {
        free(db);
        db = NULL;
    }
    if (db == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    sprintf(db->path, folder ? "%s/data.mdb" : "%s", path);
    db->fd = open(db->path, O_RDONLY | O_CLOEXEC);
    TnStatus st = db->fd < 0 ? tnp_fail(err, TN_ERR_IO, "'%s' cannot be opened: %s", db->path, strerror(errno)) : read_head(db, err);
    if (st != TN_OK)
        tn_lmdb_close(&db);
    *out = db;
    return st;
}

void tn_lmdb_close(TnLmdb **db) {
    if (*db == NULL)
        return;
    if ((*db)->fd >= 0)
        close((*db)->fd);
    for (uint32_t i = 0; i < MAX_DEPTH; i++)
        free((*db)->level[i]);
    free((*db)->path);
    free(*db);
    *db = NULL;
}

uint64_t tn_lmdb_count(const TnLmdb *db) { return db->depth == 0 ? 0 : db->entries; }
