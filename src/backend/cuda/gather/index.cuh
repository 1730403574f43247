/* SPDX-License-Identifier: Apache-2.0
 *
 * What gathers and scatters share: indices with faults, coordinates of gather_elements, tuples of gather_nd. Offsets are in elements. */
#ifndef TENON_BACKEND_CUDA_GATHER_INDEX_CUH
#define TENON_BACKEND_CUDA_GATHER_INDEX_CUH

#include "backend/cuda/cuda.h"

#define GATHER_BLOCK 256

/* Runs the statement with I as the type of int32 or int64 indices. */
#define GATHER_INDEX(dtype, I, ...)                                                                                                        \
    do {                                                                                                                                   \
        if ((dtype) == TN_I64) {                                                                                                           \
            using I = int64_t;                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            using I = int32_t;                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

/* As tni_index, and -1 where an axis has no elements at all. */
TNI_DEVICE int64_t gather_index(TniFault *fault, int64_t index, int64_t size) {
    if (size > 0)
        return tni_index(fault, index, size);
    tni_fault_note(fault, index, size);
    return -1;
}

/* The element of `data` with the coordinates of an element of the index tensor, but for the axis, where the index stands. */
struct Elements {
    int64_t n, size, axis_stride;                    /* indices; of the axis in data */
    int64_t dims[TN_MAX_RANK], strides[TN_MAX_RANK]; /* of the index tensor; of data, 0 for the axis; innermost first */
    int32_t rank;
    TniFault *fault;
};

TNI_DEVICE int64_t element_of(const Elements &e, int64_t i, int64_t index) {
    int64_t at = 0;
    for (int d = 0; d < e.rank; d++) {
        const int64_t q = i / e.dims[d];
        at += (i - q * e.dims[d]) * e.strides[d];
        i = q;
    }
    const int64_t k = gather_index(e.fault, index, e.size);
    return k < 0 ? -1 : at + k * e.axis_stride;
}

/* The first element of the slice that tuple t of k indices names. */
struct Tuples {
    int64_t sizes[TN_MAX_RANK], strides[TN_MAX_RANK];
    int32_t k;
    TniFault *fault;
};

template <typename I> TNI_DEVICE int64_t slice_of(const Tuples &p, const I *idx, int64_t t) {
    int64_t at = 0;
    bool ok = true;
    for (int j = 0; j < p.k; j++) {
        const int64_t k = gather_index(p.fault, (int64_t)idx[t * p.k + j], p.sizes[j]);
        ok = ok && k >= 0;
        at += k * p.strides[j];
    }
    return ok ? at : -1;
}

static inline TnStatus elements_setup(TnKernelCall *call, const char *op, const TnTensor *data, const TnTensor *idx, int32_t axis,
                                      Elements *e) {
    memset(e, 0, sizeof *e);
    axis += axis < 0 ? data->rank : 0;
    bool fits = axis >= 0 && axis < data->rank && data->rank == idx->rank;
    for (int32_t d = 0; d < data->rank && fits; d++)
        fits = d == axis || idx->dims[d] <= data->dims[d];
    if (!fits)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: indices that do not fit the input", op);
    e->n = tn_tensor_numel(idx);
    e->rank = data->rank;
    e->size = data->dims[axis];
    e->axis_stride = tni_numel_range(data, axis + 1, data->rank);
    e->fault = call->stream->fault;
    for (int32_t d = 0; d < data->rank; d++) {
        e->dims[data->rank - 1 - d] = idx->dims[d];
        e->strides[data->rank - 1 - d] = d == axis ? 0 : tni_numel_range(data, d + 1, data->rank);
    }
    return TN_OK;
}

/* Tuples of k indices into dims [first, first + k) of data. */
static inline void tuples_setup(const TnKernelCall *call, const TnTensor *data, int32_t k, int32_t first, Tuples *t) {
    memset(t, 0, sizeof *t);
    t->k = k;
    t->fault = call->stream->fault;
    for (int32_t j = 0; j < k; j++) {
        t->sizes[j] = data->dims[first + j];
        t->strides[j] = tni_numel_range(data, first + j + 1, data->rank);
    }
}

#endif
