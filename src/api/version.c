/* SPDX-License-Identifier: Apache-2.0
 *
 * The version that the build was configured with. */
#include "tenon/status.h"

const char *tn_version(void) {
    return TENON_VERSION;
}
