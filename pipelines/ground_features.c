/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions of many pictures: a folder, an LMDB, a TSV, or one file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipelines/ground.h"
#include "pipelines/lmdb.h"
#include "pipelines/util.h"

typedef enum Kind { FOLDER, DATABASE, TABLE, ONE } Kind;

typedef struct Row {
    char *id;
    long at;
    size_t n;
} Row;

struct TnFeatures {
    Kind kind;
    char *path, *only;
    TnLmdb *db;
    FILE *tsv;
    Row *rows; /* in the order of their ids */
    size_t n_rows, cap_rows;
};

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

void tn_features_close(TnFeatures **f) {
    TnFeatures *t = *f;
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_rows; i++)
        free(t->rows[i].id);
    free(t->rows);
    if (t->tsv != NULL)
        fclose(t->tsv);
    tn_lmdb_close(&t->db);
    free(t->path);
    free(t->only);
    free(t);
    *f = NULL;
}

static int by_id(const void *a, const void *b) { return strcmp(((const Row *)a)->id, ((const Row *)b)->id); }

/* Where every picture's row begins. */
static TnStatus index_tsv(TnFeatures *f, TnError *err) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    TnStatus st = TN_OK;
    f->tsv = fopen(f->path, "rb");
    if (f->tsv == NULL)
        return tnp_fail(err, TN_ERR_IO, "'%s' cannot be opened: %s", f->path, strerror(errno));
    for (long at = 0; st == TN_OK && (n = getline(&line, &cap, f->tsv)) >= 0; at += n) {
        char *tab = memchr(line, '\t', (size_t)n);
        if (n <= 2 || strncmp(line, "image_id\t", 9) == 0) /* an empty line, or names of columns */
            continue;
        if (tab == NULL || tab == line) {
            st = tnp_fail(err, TN_ERR_PARSE, "'%s' byte %ld: a row must begin with the picture's id and a tab", f->path, at);
            break;
        }
        if (f->n_rows == f->cap_rows) {
            size_t wide = f->cap_rows == 0 ? 64 : f->cap_rows * 2;
            Row *grown = realloc(f->rows, wide * sizeof *grown);
            if (grown == NULL) {
                st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu rows", wide);
                break;
            }
            f->rows = grown;
            f->cap_rows = wide;
        }
        f->rows[f->n_rows] = (Row){strndup(line, (size_t)(tab - line)), at, (size_t)n};
        if (f->rows[f->n_rows].id == NULL)
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: a row");
        else
            f->n_rows++;
    }
    free(line);
    if (st == TN_OK && ferror(f->tsv))
        st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be read: %s", f->path, strerror(errno));
    if (st == TN_OK && f->n_rows == 0)
        st = tnp_fail(err, TN_ERR_DATA, "'%s' has no rows", f->path);
    if (st != TN_OK)
        return st;
    qsort(f->rows, f->n_rows, sizeof *f->rows, by_id);
    f->only = f->n_rows == 1 ? strdup(f->rows[0].id) : NULL;
    return TN_OK;
}

/* The file's name without folder and ending. */
static char *stem(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1, *dot = strrchr(name, '.');
    return strndup(name, dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name));
}

/* Keeps the first picture's id while it is the only one; "keys" is the authors' list of ids. */
static int note_key(void *ctx, const char *key, size_t n) {
    char **only = ctx;
    if (n == 4 && memcmp(key, "keys", 4) == 0)
        return 1;
    if (*only != NULL) {
        free(*only);
        *only = NULL;
        return 0;
    }
    *only = strndup(key, n);
    return *only != NULL;
}

TnStatus tn_features_open(const char *path, TnFeatures **out, TnError *err) {
    char inside[4200];
    struct stat info;
    TnStatus st = TN_OK;
    TnFeatures *f = calloc(1, sizeof *f);
    *out = NULL;
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    }
    if (snprintf(inside, sizeof inside, "%s/data.mdb", path) >= (int)sizeof inside)
        st = tnp_fail(err, TN_ERR_ARGUMENT, "the path '%.100s...' is too long", path);
    else if (stat(path, &info) != 0)
        st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be read: %s", path, strerror(errno));
    else if ((S_ISDIR(info.st_mode) && access(inside, F_OK) == 0) || (!S_ISDIR(info.st_mode) && (ends_with(path, ".mdb") || ends_with(path, ".lmdb"))))
        f->kind = DATABASE;
    else
        f->kind = S_ISDIR(info.st_mode) ? FOLDER : ends_with(path, ".tsv") ? TABLE : ONE;
    if (st == TN_OK && f->kind == DATABASE) {
        st = tn_lmdb_open(path, &f->db, err);
        if (st == TN_OK && tn_lmdb_count(f->db) <= 2)
            st = tn_lmdb_keys(f->db, note_key, &f->only, err);
    }
    if (st == TN_OK && f->kind == TABLE)
        st = index_tsv(f, err);
    if (st == TN_OK && f->kind == ONE && (f->only = stem(path)) == NULL)
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    if (st != TN_OK)
        tn_features_close(&f);
    *out = f;
    return st;
}

const char *tn_features_only(const TnFeatures *f) { return f->only; }

static TnStatus none(const TnFeatures *f, const char *id, TnError *err) {
    return tnp_fail(err, TN_ERR_DATA, f->kind == FOLDER ? "folder '%s' has neither '%s.npz' nor '%s.npy'" : "'%s' has no picture '%s'", f->path, id, id);
}

static TnStatus from_folder(TnFeatures *f, const char *id, TnRegions *out, TnError *err) {
    static const char *const ends[] = {"npz", "npy"};
    char path[4096];
    if (*id == '\0' || strchr(id, '/') != NULL || strcmp(id, "..") == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "'%.100s' is no picture's id: it names a file of folder '%s'", id, f->path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (snprintf(path, sizeof path, "%s/%s.%s", f->path, id, ends[i]) < (int)sizeof path && access(path, F_OK) == 0)
            return tn_regions_load(path, out, err);
    }
    return none(f, id, err);
}

static TnStatus from_table(TnFeatures *f, const char *id, TnRegions *out, TnError *err) {
    const Row key = {.id = (char *)(uintptr_t)id};
    char name[512];
    const Row *row = bsearch(&key, f->rows, f->n_rows, sizeof *f->rows, by_id);
    if (row == NULL)
        return none(f, id, err);
    char *line = malloc(row->n + 1);
    if (line == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a row of %zu bytes", row->n);
    snprintf(name, sizeof name, "%.300s[%.100s]", f->path, id);
    TnStatus st = fseek(f->tsv, row->at, SEEK_SET) != 0 || fread(line, 1, row->n, f->tsv) != row->n
                      ? tnp_fail(err, TN_ERR_IO, "'%s' cannot be read", f->path)
                      : tn_regions_decode_tsv(line, row->n, name, out, err);
    free(line);
    return st;
}

static TnStatus from_database(TnFeatures *f, const char *id, TnRegions *out, TnError *err) {
    void *value;
    size_t n;
    char name[512];
    TnStatus st = tn_lmdb_get(f->db, id, strlen(id), &value, &n, err);
    if (st != TN_OK)
        return st;
    if (value == NULL)
        return none(f, id, err);
    snprintf(name, sizeof name, "%.300s[%.100s]", f->path, id);
    st = tn_regions_decode_pickle(value, n, name, out, err);
    free(value);
    return st;
}

TnStatus tn_features_get(TnFeatures *f, const char *id, TnRegions *out, TnError *err) {
    *out = (TnRegions){0};
    switch (f->kind) {
    case FOLDER: return from_folder(f, id, out, err);
    case DATABASE: return from_database(f, id, out, err);
    case TABLE: return from_table(f, id, out, err);
    case ONE: break;
    }
    return tn_regions_load(f->path, out, err);
}
