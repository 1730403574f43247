/* SPDX-License-Identifier: Apache-2.0
 *
 * Words of a page: FUNSD's JSON, Tesseract's TSV, hOCR. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <utf8proc.h>

#include "pipelines/doc.h"
#include "pipelines/util.h"

#define MAX_FILE ((size_t)256 << 20)

void tn_doc_page_free(TnDocPage *page) {
    for (uint32_t i = 0; i < page->n; i++) {
        free(page->words[i].text);
        free(page->words[i].label);
    }
    free(page->words);
    *page = (TnDocPage){0};
}

/* true when nothing is left of s after Python's str.strip. */
static bool is_blank(const char *s) {
    for (size_t n = strlen(s), i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        if (k <= 0)
            return false;
        utf8proc_category_t g = utf8proc_category(c);
        if (!((c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || (g >= UTF8PROC_CATEGORY_ZS && g <= UTF8PROC_CATEGORY_ZP)))
            return false;
        i += (size_t)k;
    }
    return true;
}

TnStatus tn_doc_page_add(TnDocPage *page, const char *text, const int32_t box[4], uint32_t segment, const char *label, TnError *err) {
    if (is_blank(text)) {
        page->n_blank++;
        return TN_OK;
    }
    if (page->n >= TN_DOC_MAX_WORDS)
        return tnp_fail(err, TN_ERR_LIMIT, "the page has more than %u words; cut it in parts", TN_DOC_MAX_WORDS);
    if (page->n == page->cap) {
        uint32_t cap = page->cap == 0 ? 256 : page->cap * 2;
        TnDocWord *grown = realloc(page->words, cap * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u words", cap);
        page->words = grown;
        page->cap = cap;
    }
    TnDocWord *w = &page->words[page->n];
    *w = (TnDocWord){.text = strdup(text), .segment = segment, .label = label == NULL ? NULL : strdup(label)};
    memcpy(w->box, box, sizeof w->box);
    if (w->text == NULL || (label != NULL && w->label == NULL)) {
        free(w->text);
        free(w->label);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a word of %zu bytes", strlen(text));
    }
    page->n++;
    return TN_OK;
}

/* ---- FUNSD ---- */

static bool read_box(const json_t *a, int32_t box[4]) {
    if (!json_is_array(a) || json_array_size(a) != 4)
        return false;
    for (size_t i = 0; i < 4; i++) {
        const json_t *v = json_array_get(a, i);
        double x = json_number_value(v);
        if (!json_is_number(v) || !(x > -1e9 && x < 1e9))
            return false;
        box[i] = (int32_t)x;
    }
    return true;
}

static TnStatus add_item(TnDocPage *page, const json_t *item, size_t index, const char *name, TnError *err) {
    const json_t *words = json_object_get(item, "words"), *label = json_object_get(item, "label");
    const char *type = json_string_value(label);
    char tag[80];
    if (!json_is_array(words) || (label != NULL && !json_is_null(label) && type == NULL))
        return tnp_fail(err, TN_ERR_PARSE, "'%s': form[%zu] must have an array 'words', and its 'label' must be a string", name, index);
    bool first = true;
    for (size_t i = 0; i < json_array_size(words); i++) {
        const json_t *w = json_array_get(words, i);
        const char *text = json_string_value(json_object_get(w, "text"));
        int32_t box[4];
        if (text == NULL || !read_box(json_object_get(w, "box"), box))
            return tnp_fail(err, TN_ERR_PARSE, "'%s': form[%zu].words[%zu] must have a string 'text' and a 'box' of four numbers", name,
                            index, i);
        if (is_blank(text)) { /* the item's first word with text is its first */
            page->n_blank++;
            continue;
        }
        if (type != NULL && strcasecmp(type, "other") == 0)
            snprintf(tag, sizeof tag, "O");
        else if (type != NULL)
            snprintf(tag, sizeof tag, "%s-%.70s", first ? "B" : "I", type);
        for (char *c = tag; type != NULL && *c != '\0'; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        TnStatus st = tn_doc_page_add(page, text, box, (uint32_t)index, type == NULL ? NULL : tag, err);
        if (st != TN_OK)
            return st;
        first = false;
    }
    return TN_OK;
}

static TnStatus decode_funsd(const void *data, size_t n, const char *name, TnDocPage *out, TnError *err) {
    json_error_t why;
    json_t *root = json_loadb(data, n, 0, &why);
    if (root == NULL)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' is no JSON: %s (line %d, column %d)", name, why.text, why.line, why.column);
    const json_t *form = json_object_get(root, "form");
    TnStatus st = json_is_array(form) ? TN_OK : tnp_fail(err, TN_ERR_PARSE, "'%s': an annotation has an array 'form'; there is none", name);
    for (size_t i = 0; st == TN_OK && i < json_array_size(form); i++)
        st = add_item(out, json_array_get(form, i), i, name, err);
    json_decref(root);
    return st;
}

/* ---- Tesseract TSV ---- */

enum { LEVEL, PAGE, BLOCK, PARAGRAPH, LINE, WORD, LEFT, TOP, WIDTH, HEIGHT, CONFIDENCE, COLUMNS };

static TnStatus decode_tsv(char *text, const char *name, TnDocPage *out, TnError *err) {
    uint32_t row = 0, segment = 0;
    long at[5] = {-1, -1, -1, -1, -1};
    TnStatus st = TN_OK;
    for (char *line = text, *next; st == TN_OK && *line != '\0'; line = next) {
        size_t len = strcspn(line, "\n");
        long v[COLUMNS] = {0};
        next = line + len + (line[len] == '\n');
        if (len > 0 && line[len - 1] == '\r')
            line[len - 1] = '\0';
        line[len] = '\0';
        if (row++ == 0 || *line == '\0')
            continue;
        char *p = line;
        for (int i = 0; i < COLUMNS && p != NULL; i++) {
            char *end;
            v[i] = i == CONFIDENCE ? (strtod(p, &end), 0) : strtol(p, &end, 10);
            p = end == p || *end != '\t' || v[i] < -1000000000 || v[i] > 1000000000 ? NULL : end + 1;
        }
        if (p == NULL)
            return tnp_fail(err, TN_ERR_PARSE, "'%s' row %u: expected 11 numbers and the text, with tabs between", name, row);
        if (v[LEVEL] != 5)
            continue;
        if (at[PAGE] >= 0 && v[PAGE] != at[PAGE])
            break;
        if (memcmp(at + PAGE, v + PAGE, 4 * sizeof *at) != 0)
            segment += at[PAGE] >= 0;
        memcpy(at, v, sizeof at);
        const int32_t box[4] = {(int32_t)v[LEFT], (int32_t)v[TOP], (int32_t)(v[LEFT] + v[WIDTH]), (int32_t)(v[TOP] + v[HEIGHT])};
        st = tn_doc_page_add(out, p, box, segment, NULL, err);
    }
    return st;
}

/* ---- hOCR ---- */

/* Character references of HTML, in place. */
static void unescape(char *s) {
    static const struct {
        const char *name, *text;
    } rows[] = {{"amp;", "&"}, {"lt;", "<"}, {"gt;", ">"}, {"quot;", "\""}, {"apos;", "'"}, {"nbsp;", " "}};
    char *out = s;
    while (*s != '\0') {
        size_t used = 0;
        if (*s == '&' && s[1] == '#') {
            char *end;
            bool hex = s[2] == 'x' || s[2] == 'X';
            long c = strtol(s + (hex ? 3 : 2), &end, hex ? 16 : 10);
            if (*end == ';' && c > 0 && utf8proc_codepoint_valid((utf8proc_int32_t)c) && c < 0x110000) {
                out += utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out); /* never longer than the reference */
                used = (size_t)(end + 1 - s);
            }
        }
        for (size_t i = 0; *s == '&' && used == 0 && i < sizeof rows / sizeof *rows; i++) {
            size_t n = strlen(rows[i].name);
            if (strncmp(s + 1, rows[i].name, n) == 0) {
                *out++ = rows[i].text[0];
                used = n + 1;
            }
        }
        if (used == 0) {
            *out++ = *s;
            used = 1;
        }
        s += used;
    }
    *out = '\0';
}

/* class of the tag [from, to) holds `name`. */
static bool has_class(const char *from, const char *to, const char *name) {
    const char *c = memmem(from, (size_t)(to - from), "class=", 6);
    if (c == NULL || c + 7 >= to)
        return false;
    const char *end = memchr(c + 7, c[6], (size_t)(to - c - 7)), *found;
    return end != NULL && (found = memmem(c + 7, (size_t)(end - c - 7), name, strlen(name))) != NULL;
}

/* Text between tags from `p` to the end of its element; tags inside (strong, em) are left out. Moves *next behind it. */
static void element_text(char *p, char *text, size_t cap, char **next) {
    size_t n = 0;
    int depth = 1;
    while (*p != '\0' && depth > 0) {
        if (*p == '<') {
            char *end = strchr(p, '>');
            if (end == NULL)
                break;
            depth += p[1] == '/' ? -1 : end[-1] == '/' || p[1] == '!' ? 0 : 1;
            p = end + 1;
        } else {
            if (n + 1 < cap)
                text[n++] = *p;
            p++;
        }
    }
    text[n] = '\0';
    *next = p;
    unescape(text);
    size_t from = strspn(text, " \t\r\n");
    n = strlen(text);
    while (n > from && strchr(" \t\r\n", text[n - 1]) != NULL)
        n--;
    memmove(text, text + from, n - from);
    text[n - from] = '\0';
}

static TnStatus decode_hocr(char *data, const char *name, TnDocPage *out, TnError *err) {
    static const char *const lines[] = {"ocr_line", "ocr_textfloat", "ocr_header", "ocr_caption"};
    uint32_t segment = 0, pages = 0;
    char text[4096];
    for (char *p = strchr(data, '<'); p != NULL; p = strchr(p, '<')) {
        char *end = strchr(p, '>'), *next = end;
        if (end == NULL)
            break;
        if (has_class(p, end, "ocr_page") && pages++ > 0)
            break;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
            segment += has_class(p, end, lines[i]);
        if (has_class(p, end, "ocrx_word")) {
            const char *bbox = memmem(p, (size_t)(end - p), "bbox ", 5);
            int32_t box[4];
            if (bbox == NULL || sscanf(bbox + 5, "%9d %9d %9d %9d", &box[0], &box[1], &box[2], &box[3]) != 4)
                return tnp_fail(err, TN_ERR_PARSE, "'%s' byte %zu: a word without 'bbox x0 y0 x1 y1' in its title", name,
                                (size_t)(p - data));
            element_text(end + 1, text, sizeof text, &next);
            TnStatus st = tn_doc_page_add(out, text, box, segment, NULL, err);
            if (st != TN_OK)
                return st;
            p = next;
            continue;
        }
        p = end + 1;
    }
    return TN_OK;
}

TnStatus tn_doc_page_decode(const void *data, size_t n, const char *name, TnDocPage *out, TnError *err) {
    *out = (TnDocPage){0};
    char *text = malloc(n + 1);
    if (text == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %zu bytes", name, n);
    memcpy(text, data, n);
    text[n] = '\0';
    char *start = text + strspn(text, " \t\r\n");
    if (strncmp(start, "\xef\xbb\xbf", 3) == 0)
        start += 3;
    TnStatus st;
    if (*start == '{' || *start == '[')
        st = decode_funsd(data, n, name, out, err);
    else if (strncmp(start, "level\tpage_num\t", 15) == 0)
        st = decode_tsv(start, name, out, err);
    else if (*start == '<')
        st = decode_hocr(start, name, out, err);
    else
        st = tnp_fail(err, *start == '\0' ? TN_ERR_PARSE : TN_ERR_UNSUPPORTED,
                      *start == '\0' ? "'%s' is empty" : "'%s' is neither FUNSD's JSON nor Tesseract's TSV (with its header row) nor hOCR",
                      name);
    free(text);
    if (st != TN_OK)
        tn_doc_page_free(out);
    return st;
}

TnStatus tn_doc_page_load(const char *path, TnDocPage *out, TnError *err) {
    void *data;
    size_t n;
    *out = (TnDocPage){0};
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st != TN_OK)
        return st;
    st = tn_doc_page_decode(data, n, path, out, err);
    free(data);
    return st;
}
