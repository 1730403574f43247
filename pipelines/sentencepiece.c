/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader of sentencepiece's files. Of protobuf's wire format: varints (type 0), 8 bytes (1), lengths (2), 4 bytes (5); groups are errors. Fields
 * that are not needed are stepped over. */
#include "pipelines/sentencepiece.h"

#include <stdlib.h>
#include <string.h>

#include "pipelines/unicode.h"
#include "pipelines/util.h"

#define MAX_PIECES 10000000u

/* ModelProto and ModelProto.SentencePiece */
enum { MODEL_PIECE = 1, PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { WIRE_VARINT = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5 };

typedef struct Wire {
    const uint8_t *at, *end, *start; /* start: of the file */
    TnError *err;
} Wire;

typedef struct Field {
    uint32_t number, wire;
    uint64_t value; /* varint, or the 4 or 8 bytes */
    const uint8_t *data;
    size_t n;
} Field;

static TnStatus broken(const Wire *w, const char *what) {
    return tnp_fail(w->err, TN_ERR_PARSE, "sentencepiece file: %s at byte %zu; it is damaged, or of another kind", what, (size_t)(w->at - w->start));
}

static TnStatus varint(Wire *w, uint64_t *out) {
    *out = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        if (w->at == w->end)
            return broken(w, "a number is cut off");
        uint8_t b = *w->at++;
        *out |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return TN_OK;
    }
    return broken(w, "a number of more than ten bytes");
}

static TnStatus field(Wire *w, Field *f) {
    uint64_t key;
    TnStatus st = varint(w, &key);
    if (st != TN_OK)
        return st;
    *f = (Field){.number = key >> 3 > UINT32_MAX ? UINT32_MAX : (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7)};
    if (f->number == 0)
        return broken(w, "a field with number 0");
    if (f->wire == WIRE_VARINT)
        return varint(w, &f->value);
    uint64_t n = f->wire == WIRE_4 ? 4 : 8;
    if (f->wire == WIRE_BYTES && (st = varint(w, &n)) != TN_OK)
        return st;
    if (f->wire != WIRE_4 && f->wire != WIRE_8 && f->wire != WIRE_BYTES)
        return broken(w, "an unknown kind of field");
    if (n > (uint64_t)(w->end - w->at))
        return broken(w, "a field that is longer than what is left");
    f->data = w->at;
    f->n = (size_t)n;
    w->at += n;
    for (uint32_t i = 0; f->wire != WIRE_BYTES && i < f->n; i++)
        f->value |= (uint64_t)f->data[i] << 8 * i;
    return TN_OK;
}

static TnStatus read_piece(Wire w, TnPiece *p) {
    Field f;
    bool named = false;
    *p = (TnPiece){.text = "", .type = TN_PIECE_NORMAL};
    while (w.at < w.end) {
        TnStatus st = field(&w, &f);
        if (st != TN_OK)
            return st;
        if (f.number == PIECE_TEXT && f.wire == WIRE_BYTES) {
            if (f.n > 1u << 20 || !tnp_utf8_valid((const char *)f.data, f.n))
                return broken(&w, "a piece that is no text before");
            p->text = (const char *)f.data;
            p->n = (uint32_t)f.n;
            named = true;
        } else if (f.number == PIECE_SCORE && f.wire == WIRE_4) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&p->score, &bits, sizeof bits);
        } else if (f.number == PIECE_TYPE && f.wire == WIRE_VARINT) {
            if (f.value < TN_PIECE_NORMAL || f.value > TN_PIECE_BYTE)
                return broken(&w, "a piece of unknown type before");
            p->type = (TnPieceType)f.value;
        }
    }
    return named ? TN_OK : broken(&w, "a piece without text before");
}

TnStatus tn_pieces_read(const void *data, size_t n, TnPieces *out, TnError *err) {
    const uint8_t *bytes = data;
    Wire w = {.at = bytes, .end = bytes + n, .start = bytes, .err = err};
    uint32_t cap = 0;
    *out = (TnPieces){0};
    while (w.at < w.end) {
        Field f;
        TnStatus st = field(&w, &f);
        if (st == TN_OK && f.number == MODEL_PIECE && f.wire == WIRE_BYTES) {
            if (out->n == MAX_PIECES)
                return tnp_fail(err, TN_ERR_LIMIT, "sentencepiece file: more than %u pieces", MAX_PIECES);
            if (out->n == cap) {
                cap = cap == 0 ? 1024 : 2 * cap;
                TnPiece *grown = realloc(out->piece, cap * sizeof *grown);
                if (grown == NULL)
                    return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u pieces", cap);
                out->piece = grown;
            }
            st = read_piece((Wire){f.data, f.data + f.n, bytes, err}, &out->piece[out->n]);
            out->n++;
        }
        if (st != TN_OK)
            return st;
    }
    return out->n == 0 ? tnp_fail(err, TN_ERR_PARSE, "sentencepiece file: it has no pieces; it is damaged, or of another kind") : TN_OK;
}

void tn_pieces_free(TnPieces *pieces) {
    free(pieces->piece);
    *pieces = (TnPieces){0};
}
