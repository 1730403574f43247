/* SPDX-License-Identifier: Apache-2.0
 *
 * Boxes: copies of elements between two strided layouts, which most moving operators are. Used by other families too. */
#ifndef TENON_BACKEND_CUDA_MOVE_BOX_H
#define TENON_BACKEND_CUDA_MOVE_BOX_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MV_DIMS 16 /* a tile has two dims for each of its tensor's */
#define MV_BLOCK 256

/* dst[dst_first + i . dst] = src[src_first + i . src] for all i within dims (outermost first); strides in elements, those of dst not 0. */
typedef struct MvBox {
    int32_t n;
    int64_t dims[MV_DIMS], dst[MV_DIMS], src[MV_DIMS];
    int64_t dst_first, src_first;
} MvBox;

/* Row-major strides. */
void tni_cuda_mv_strides(int32_t rank, const int64_t *dims, int64_t *strides);
/* A box over all elements of y, dense, from x through the given strides. */
void tni_cuda_mv_box(const TnTensor *y, int64_t src_first, const int64_t *src_strides, MvBox *b);
/* Enqueues the copy of elements of `size` bytes (1, 2, 4, 8, 16). `what` names the operator. */
TnStatus tni_cuda_mv_copy(TnKernelCall *call, const MvBox *b, void *dst, const void *src, size_t size, const char *what);

/* ---- between box.c and the kernels ---- */
typedef struct MvWalk {
    const void *src;
    void *dst;
    int64_t total;                                     /* units */
    int64_t dims[MV_DIMS], to[MV_DIMS], from[MV_DIMS]; /* innermost first */
    TniDiv div[MV_DIMS];
    int32_t n;
    uint32_t wide; /* more than 2^31 units: divide in 64 bits */
} MvWalk;
void tni_cuda_mv_strided(const TnStream *s, const MvWalk *w, size_t unit);

typedef struct MvPlane {
    const void *src;
    void *dst;
    int64_t a, b;                                      /* a: contiguous in src; b: contiguous in dst */
    int64_t a_to, b_from;                              /* strides of a in dst, of b in src */
    int64_t a_tiles, b_tiles;                          /* of TILE elements */
    int64_t dims[MV_DIMS], to[MV_DIMS], from[MV_DIMS]; /* the rest, innermost first */
    int32_t n;
} MvPlane;
int64_t tni_cuda_mv_tile(size_t size); /* elements of a tile's edge */
void tni_cuda_mv_planes(const TnStream *s, const MvPlane *p, int64_t batch, size_t size);

/* n runs on one side, rows of n elements on the other; `gather`: the runs are the source's, else the destination's. */
#define TURN_RUNS 64 /* of a tile */
typedef struct MvTurn {
    const void *src;
    void *dst;
    int64_t runs, length;                              /* of a plane */
    int64_t run_step, mixed_step;                      /* from run to run, from row to row on the other side */
    int64_t run_tiles, len_tiles;
    int64_t dims[MV_DIMS], to[MV_DIMS], from[MV_DIMS]; /* the rest, innermost first */
    int32_t n;
    int32_t tile, pitch;                               /* elements of a run in a tile; from run to run in it */
    int32_t run_turn;                                  /* run_step modulo the elements of 16 bytes */
    int32_t dense, gather;                             /* dense: rows of the mixed side touch each other */
    TniDiv run_pieces, line_pieces, width;             /* of 16 bytes, of a run and of a row in a tile; runs */
} MvTurn;
void tni_cuda_mv_turn(const TnStream *s, const MvTurn *p, int64_t batch, size_t size);

/* Rows cut into parts: part k of row r is columns [start[k], start[k + 1]) of the whole. Units of `unit` bytes. */
#define MV_PARTS 64
typedef struct MvParts {
    void *part[MV_PARTS]; /* NULL: not wanted */
    uint32_t start[MV_PARTS + 1];
    uint32_t n;
    void *whole;
    int64_t pitch, first; /* of a row of the whole; where these parts begin in it */
    int64_t rows, total;
    TniDiv width; /* of these parts together */
    uint32_t into_whole, wide;
} MvParts;
void tni_cuda_mv_parts(const TnStream *s, const MvParts *p, size_t unit);

#ifdef __cplusplus
}
#endif
#endif
