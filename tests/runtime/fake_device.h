/* SPDX-License-Identifier: Apache-2.0
 *
 * The strings of the fake device (fake_device.c), for tests: what it counts and how it is made to fail. The library exports the address of one
 * FakeDevice as fake_device(). */
#ifndef TENON_TESTS_FAKE_DEVICE_H
#define TENON_TESTS_FAKE_DEVICE_H

#include <stdint.h>

typedef struct FakeDevice {
    /* what it is */
    uint32_t arch, n_devices, has_compiler;
    uint64_t identity;
    /* faults: the call with this number fails (counted from 0 since it was set; UINT64_MAX: none) */
    uint64_t fail_alloc;  /* device and pinned memory: TN_ERR_MEMORY */
    uint64_t fail_call;   /* everything that can fail: TN_ERR_DEVICE, and so does everything of that stream afterwards */
    uint64_t fail_capture; /* capture_end */
    uint64_t n_alloc, n_call, n_capture;
    uint64_t hang; /* the kernel that runs with this number does not come to an end; who then waits for the device aborts */
    /* counts */
    uint64_t live;     /* blocks of memory, streams, marks, graphs, modules and devices that have not been given back */
    uint64_t kernels;  /* that ran */
    uint64_t launches; /* of kernels and copies by the host; a graph counts once */
    uint64_t graphs;   /* launched */
    uint64_t waits;
    uint64_t uploaded, downloaded; /* bytes */
    uint64_t modules;
    uint32_t lanes; /* streams of the last recording */
} FakeDevice;

typedef FakeDevice *(*FakeDeviceFn)(void);

#endif
