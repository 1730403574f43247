/* SPDX-License-Identifier: Apache-2.0
 *
 * Which devices there are, before any plan is opened. */
#include "backend/device.h"
#include "tenon/runtime.h"

TnStatus tn_device_count(const char *kind, uint32_t *count, TnError *err) {
    const TnDeviceLibrary *lib;
    TnDeviceKind k = TN_DEVICE_CPU;
    uint32_t index;
    if (count == NULL)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "count is NULL");
    *count = 0;
    if (kind == NULL || strchr(kind, ':') != NULL || !tni_device_parse(kind, &k, &index))
        return TN_RAISE(err, TN_ERR_ARGUMENT, "'%s' is no kind of device; cpu and cuda are", kind == NULL ? "" : kind);
    if (k == TN_DEVICE_CPU) {
        *count = 1;
        return TN_OK;
    }
    TN_TRY(tni_device_library(k, &lib, err));
    return lib->count(count, err);
}
