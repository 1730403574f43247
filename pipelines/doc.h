/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms: a page's picture and its words with boxes -> entities (header, question, answer, ...) and which answer belongs to which question.
 * For plans of LayoutLMv3 with a token classification head; tokenizer, labels and picture processor come with the plan. */
#ifndef TENON_PIPELINES_DOC_H
#define TENON_PIPELINES_DOC_H

#include <stdbool.h>

#include "pipelines/bpe.h"
#include "pipelines/image.h"

/* ---- words ---- */

typedef struct TnDocWord {
    char *text;       /* UTF-8, not blank */
    int32_t box[4];   /* x0, y0, x1, y1 in pixels of the picture; x1 >= x0, y1 >= y0 */
    uint32_t segment; /* words of one segment (a line, an item of a form) share a number and stand side by side */
    char *label;      /* the truth as "O", "B-ANSWER", ...; NULL: unknown */
} TnDocWord;

typedef struct TnDocPage {
    TnDocWord *words;
    uint32_t n, cap;
    uint32_t n_blank; /* words left out because their text is blank */
} TnDocPage;

#define TN_DOC_MAX_WORDS 100000u

/* Reads words by content: FUNSD's annotation JSON ({"form": [{"label", "words": [{"text", "box"}]}]}), Tesseract's TSV, or hOCR (one page
 * each; of several pages the first). Errors: IO, PARSE (which item, row or byte), UNSUPPORTED (none of the three), LIMIT (over
 * TN_DOC_MAX_WORDS). */
TnStatus tn_doc_page_load(const char *path, TnDocPage *out, TnError *err);
TnStatus tn_doc_page_decode(const void *data, size_t n, const char *name, TnDocPage *out, TnError *err);
/* Appends a word; text is copied, blank text is counted and left out. label may be NULL. Errors: MEMORY, LIMIT. */
TnStatus tn_doc_page_add(TnDocPage *page, const char *text, const int32_t box[4], uint32_t segment, const char *label, TnError *err);
void tn_doc_page_free(TnDocPage *page); /* safe on a zeroed struct */

/* ---- reading ---- */

typedef struct TnDocOptions {
    uint32_t threads; /* 0: one a core */
    uint32_t batch;   /* windows at once; 0: 4 */
    uint32_t overlap; /* tokens that two windows of a long page share; less than half a window. 0: none, as the authors' evaluation */
    bool word_boxes;  /* every word its own box, not its segment's */
    bool clip;        /* boxes that leave the picture are cut at its edge; otherwise they are an error */
} TnDocOptions;
TnDocOptions tn_doc_options_default(void); /* overlap 128 */

#define TN_DOC_NONE UINT32_MAX
typedef struct TnDocEntity {
    const char *label; /* "question": lower case, without B- or I-; words outside entities make "other", a segment each */
    char *text;        /* words joined by spaces */
    float score;       /* mean probability of its words' labels */
    int32_t box[4];    /* around its words, pixels */
    uint32_t first, n; /* words [first, first + n) */
    uint32_t order;    /* place in reading order: lines from top to bottom, left to right */
    uint32_t question; /* of an answer: the entity it belongs to, or TN_DOC_NONE */
} TnDocEntity;

typedef struct TnDocResult {
    TnDocEntity *entities;
    uint32_t n;
    const uint32_t *labels; /* [words] label ids */
    const float *scores;    /* [words] their probabilities */
    uint32_t windows, tokens;
    double preprocess_ms, run_ms;
} TnDocResult;

typedef struct TnDoc TnDoc;

/* tokenizer: NULL: the plan's. plan must outlive it; a tokenizer given is not taken over. Errors: REQUEST (the plan is no token classifier,
 * or carries no tokenizer), PARSE (metadata), ARGUMENT (overlap), MEMORY. */
TnStatus tn_doc_create(TnPlan *plan, const TnBpe *tokenizer, const TnDocOptions *options, TnDoc **out, TnError *err);
void tn_doc_destroy(TnDoc **doc);
uint32_t tn_doc_label_count(const TnDoc *doc);
const char *tn_doc_label(const TnDoc *doc, uint32_t id); /* "O", "B-HEADER", ... */

/* Reads a page. The result lives in the TnDoc until its next call. Errors: DATA (no words; a box inverted or out of the picture: which
 * word), LIMIT, those of tn_context_run. */
TnStatus tn_doc_read(TnDoc *doc, const TnImage *image, const TnDocPage *page, TnDocResult *out, TnError *err);
/* Reads n pages together: they are made ready side by side, and their windows share batches. out: [n], live until the next call; times are a page's share.
 * Errors: as tn_doc_read, of the first page that fails. */
TnStatus tn_doc_read_many(TnDoc *doc, const TnImage *images, const TnDocPage *pages, uint32_t n, TnDocResult *out, TnError *err);
/* The model's input for one window, as tn_doc_read makes it: ids and mask [sequence], boxes [sequence, 4], planes [3, H, W]; any may be
 * NULL. windows gets their number. Errors: as tn_doc_read; ARGUMENT when there is no such window. */
TnStatus tn_doc_window(TnDoc *doc, const TnImage *image, const TnDocPage *page, uint32_t window, int64_t *ids, int64_t *mask,
                       int64_t *boxes, float *planes, uint32_t *windows, TnError *err);
uint32_t tn_doc_sequence(const TnDoc *doc);                            /* tokens of a full window, special tokens included */
void tn_doc_size(const TnDoc *doc, uint32_t *width, uint32_t *height); /* of the picture that the model sees */

/* ---- entity scores, as seqeval computes them ---- */

#define TN_DOC_MAX_TYPES 64
typedef struct TnDocScore {
    struct {
        char name[64];
        uint64_t right, predicted, expected;
    } type[TN_DOC_MAX_TYPES];
    uint32_t n_types;
    uint64_t right, predicted, expected; /* of all */
} TnDocScore;
/* Counts the entities of one sequence of n tags ("O", "B-X", "I-X", ...): a chunk starts at B, or at I after another type or O; equal are
 * chunks of equal type, start and end. LIMIT: more than TN_DOC_MAX_TYPES types. */
TnStatus tn_doc_score_add(TnDocScore *score, const char *const *expected, const char *const *predicted, uint32_t n, TnError *err);
/* Reads a page that has labels and counts it: as a whole, or (overlap 0) window by window as the authors' evaluation does, where a word
 * that a window cuts counts twice. DATA: a word has no label. */
TnStatus tn_doc_score_page(TnDoc *doc, const TnImage *image, const TnDocPage *page, TnDocScore *score, TnDocResult *out, TnError *err);
double tn_doc_precision(uint64_t right, uint64_t predicted); /* 0 / 0 = 0; recall with expected in place of predicted */
double tn_doc_f1(uint64_t right, uint64_t predicted, uint64_t expected);

/* ---- pictures of results ---- */

/* A copy of image with boxes drawn: blue header, red question, green answer, grey other, others by turns; a line from question to answer.
 */
TnStatus tn_doc_draw(const TnImage *image, const TnDocResult *result, TnImage *out, TnError *err);
/* One HTML file with everything inside: the picture, boxes over it, the pairs and the entities as tables. */
TnStatus tn_doc_save_html(const TnImage *image, const TnDocResult *result, const char *title, const char *path, TnError *err);

#endif
