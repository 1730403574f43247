/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of sentencepiece (Kudo & Richardson 2018): a serialised protobuf ModelProto. Read here: the pieces with their types, in order of their ids. */
#ifndef TENON_PIPELINES_SENTENCEPIECE_H
#define TENON_PIPELINES_SENTENCEPIECE_H

#include <stddef.h>

#include "tenon/tensor.h"

typedef enum TnPieceType {
    TN_PIECE_NORMAL = 1,
    TN_PIECE_UNKNOWN,
    TN_PIECE_CONTROL,
    TN_PIECE_USER_DEFINED,
    TN_PIECE_UNUSED,
    TN_PIECE_BYTE,
} TnPieceType;

typedef struct TnPiece {
    const char *text; /* n bytes of valid UTF-8 in the file's memory, no NUL behind them */
    uint32_t n;
    TnPieceType type;
    float score; /* log probability */
} TnPiece;

typedef struct TnPieces {
    TnPiece *piece; /* heap memory */
    uint32_t n;
} TnPieces;

/* data must outlive the pieces. Errors: PARSE (what is wrong at which byte), LIMIT (over ten million pieces), MEMORY. Release with
 * tn_pieces_free in any case. */
TnStatus tn_pieces_read(const void *data, size_t n, TnPieces *out, TnError *err);
void tn_pieces_free(TnPieces *pieces);

#endif
