/* SPDX-License-Identifier: Apache-2.0
 *
 * cuBLASLt, found at run time. Workspaces come from call->scratch: this hands out functions and a handle, no memory. */
#ifndef TENON_BACKEND_CUDA_BLASLT_H
#define TENON_BACKEND_CUDA_BLASLT_H

#include <cublasLt.h>

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The functions, by their names without "cublasLt". */
#define TNI_BLASLT_FUNCTIONS(X)                                                                                                            \
    X(Create)                                                                                                                              \
    X(Destroy)                                                                                                                             \
    X(GetVersion)                                                                                                                          \
    X(GetStatusString)                                                                                                                     \
    X(MatmulDescCreate)                                                                                                                    \
    X(MatmulDescDestroy)                                                                                                                   \
    X(MatmulDescSetAttribute)                                                                                                              \
    X(MatrixLayoutCreate)                                                                                                                  \
    X(MatrixLayoutDestroy)                                                                                                                 \
    X(MatrixLayoutSetAttribute)                                                                                                            \
    X(MatmulPreferenceCreate)                                                                                                              \
    X(MatmulPreferenceDestroy)                                                                                                             \
    X(MatmulPreferenceSetAttribute)                                                                                                        \
    X(MatmulAlgoGetHeuristic)                                                                                                              \
    X(MatmulAlgoCheck)                                                                                                                     \
    X(MatmulAlgoConfigGetAttribute)                                                                                                        \
    X(Matmul)

typedef struct TniBlasLt {
    cublasLtHandle_t handle; /* of this device */
    size_t version;
    void *state; /* free for the gemm family: caches of descriptors and algorithms; NULL at first */
#define X(name) __typeof__(cublasLt##name) *name;
    TNI_BLASLT_FUNCTIONS(X)
#undef X
} TniBlasLt;

/* The library and this device's handle, opened when first asked for, kept. TN_ERR_DEVICE when it cannot be found. Takes a lock. */
TnStatus tni_cuda_blaslt(TnDevice *d, TniBlasLt **out, TnError *err);
/* Whether it can be opened (TnDeviceInfo.has_blaslt); opens nothing on a device. */
bool tni_cuda_has_blaslt(void);
TnStatus tni_cuda_raise_blaslt(TnError *err, const TniBlasLt *lt, cublasStatus_t st, const char *what);

#ifdef __cplusplus
}
#endif
#endif
