/* SPDX-License-Identifier: Apache-2.0
 *
 * What a GPU can do at most, and how long a kernel takes at that rate: inputs of the planner's choice between kernels. */
#include "backend/cuda/device.h"

#include <stdio.h>

/* Data sheets: dense rates, f32 sums. The first row whose word stands in the name and whose memory fits. */
typedef struct Known {
    const char *name;
    double max_gib; /* rows of one chip in several sizes; 0: any */
    double bytes, half, tf32, single;
} Known;

static const Known known[] = {
    {"H200 NVL", 0, 4.8e12, 835e12, 417e12, 60e12},
    {"H200", 0, 4.8e12, 989e12, 494e12, 67e12},
    {"H100 NVL", 0, 3.9e12, 835e12, 417e12, 60e12},
    {"H100 PCIe", 0, 2.0e12, 756e12, 378e12, 51e12},
    {"H100", 0, 3.35e12, 989e12, 494e12, 67e12},
    {"L40S", 0, 0.864e12, 362e12, 183e12, 91.6e12},
    {"A100-PCIE-40GB", 0, 1.555e12, 312e12, 156e12, 19.5e12},
    {"A100", 41, 1.555e12, 312e12, 156e12, 19.5e12},
    {"A100", 0, 2.039e12, 312e12, 156e12, 19.5e12},
};

/* Floating-point operations a clock and SM: of half products on tensor cores, of f32 arithmetic. */
static void rates_of(uint32_t arch, double *half, double *single) {
    *single = 256;
    switch (arch) {
    case 80:
        *half = 2048;
        *single = 128;
        return;
    case 90:
        *half = 4096;
        return;
    case 100:
    case 103:
        *half = 8192;
        return;
    default:
        *half = 1024; /* 8.6, 8.9, 12.0 */
    }
}

void tni_gpu_ceilings(TnDeviceInfo *o) {
    for (size_t i = 0; i < TN_COUNT(known); i++) {
        const Known *k = &known[i];
        if (strstr(o->name, k->name) == NULL || (k->max_gib > 0 && (double)o->memory_bytes > k->max_gib * 0x1p30))
            continue;
        o->bytes_per_second = k->bytes;
        o->half_flops = k->half;
        o->tf32_flops = k->tf32;
        o->float_flops = k->single;
        return;
    }
    int clock = 0, memory_clock = 0, bus = 0; /* kHz, kHz, bits */
    double half, single;
    if (cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, (int)o->index) != cudaSuccess || clock <= 0)
        clock = 1500000;
    if (cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, (int)o->index) != cudaSuccess || memory_clock <= 0)
        memory_clock = 1500000;
    if (cudaDeviceGetAttribute(&bus, cudaDevAttrGlobalMemoryBusWidth, (int)o->index) != cudaSuccess || bus <= 0)
        bus = 256;
    (void)cudaGetLastError();
    rates_of(o->arch, &half, &single);
    double cycles = (double)clock * 1e3 * (double)o->sm_count;
    o->bytes_per_second = 2.0 * (double)memory_clock * 1e3 * (double)bus / 8.0; /* two transfers a clock */
    o->half_flops = cycles * half;
    o->tf32_flops = cycles * half / 2.0;
    o->float_flops = cycles * single;
}

TnDtype tni_cuda_float_type(const TnKernelQuery *q) {
    TnDtype t = TN_UNDEFINED;
    for (uint32_t i = 0; i < q->n_in + q->n_out; i++) {
        TnDtype u = i < q->n_in ? q->in[i].dtype : q->out[i - q->n_in].dtype;
        if (u == TN_UNDEFINED)
            continue;
        if (!tni_is_real(u) || (t != TN_UNDEFINED && u != t))
            return TN_UNDEFINED;
        t = u;
    }
    return t;
}

double tni_cuda_bytes(const TnKernelQuery *q) {
    double sum = 0;
    for (uint32_t i = 0; i < q->n_in + q->n_out; i++) {
        const TnTensor *t = i < q->n_in ? &q->in[i] : &q->out[i - q->n_in];
        if (t->dtype != TN_UNDEFINED)
            sum += (double)tn_tensor_bytes(t);
    }
    return sum;
}

double tni_cuda_cost(const TnKernelQuery *q, double bytes, double flops, double flops_per_second) {
    /* Without a device (a plan printed elsewhere) the order of kernels still wants numbers. */
    double bandwidth = q->device != NULL && q->device->bytes_per_second > 0 ? q->device->bytes_per_second : 2e12;
    double moving = bytes / (0.8 * bandwidth), computing = flops_per_second > 0 ? flops / (0.6 * flops_per_second) : 0.0;
    return 2000.0 + 1e9 * TN_MAX(moving, computing);
}
