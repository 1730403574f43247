/* SPDX-License-Identifier: Apache-2.0
 *
 * The build's device: what the options ask for, as the planner needs it. */
#ifndef TENON_API_BUILD_DEVICE_H
#define TENON_API_BUILD_DEVICE_H

#include "base/base.h"
#include "kernel/device.h"
#include "tenon/build.h"

typedef struct BuildDevice {
    const TnDeviceLibrary *lib; /* NULL: the CPU */
    TnDevice *device;           /* NULL: kernels are chosen by estimate */
    TnDeviceInfo info;
    TnDtype type;  /* TN_F32, TN_F16 or TN_BF16 */
    uint32_t math; /* TN_MATH_* */
} BuildDevice;

/* Options against each other; opens the library and the device. TN_ERR_ARGUMENT: not a value; TN_ERR_REQUEST: cannot be met; TN_ERR_DEVICE: no
 * library, driver or GPU, and no target was named. */
TnStatus tni_api_build_device_open(const TnBuildOptions *o, BuildDevice *d, TnError *err);
void tni_api_build_device_close(BuildDevice *d);

#endif
