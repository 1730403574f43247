/* SPDX-License-Identifier: Apache-2.0
 *
 * A device library of a version that does not exist: it must be refused. */
#include "kernel/device.h"

TN_API const TnDeviceLibrary *tenon_device_library(void);
const TnDeviceLibrary *tenon_device_library(void) {
    static const TnDeviceLibrary library = {.version = 77, .size = sizeof(TnDeviceLibrary), .name = "cuda", .kind = TN_DEVICE_CUDA};
    return &library;
}
