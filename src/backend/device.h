/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds device libraries. */
#ifndef TENON_BACKEND_DEVICE_H
#define TENON_BACKEND_DEVICE_H

#include "kernel/device.h"

/* The library of a device kind, opened on first use and kept. Looked for at $TENON_CUDA_LIBRARY, beside the library or program that this code is
 * in, in ../lib of that, then where the loader looks. TN_ERR_DEVICE: says where was looked and what the loader said. */
TnStatus tni_device_library(TnDeviceKind kind, const TnDeviceLibrary **out, TnError *err);
/* A kernel of the library by name, or NULL. */
const TnKernel *tni_device_kernel_find(const TnDeviceLibrary *lib, const char *name);
/* Waits until everything on s is done, but no longer than tni_device_patience_ns(): then TN_ERR_DEVICE, and *hung says that it was that. The
 * caller, who knows what was enqueued, names it and calls lib->give_up. */
TnStatus tni_device_wait(const TnDeviceLibrary *lib, TnStream *s, bool *hung, TnError *err);
/* $TENON_DEVICE_TIMEOUT in seconds (fractions allowed, 0: for ever), else 30: no step takes a thousandth of it. */
uint64_t tni_device_patience_ns(void);
/* "cuda", "cuda:1", "cpu" -> kind and index; false: not one of these. */
bool tni_device_parse(const char *text, TnDeviceKind *kind, uint32_t *index);

#endif
