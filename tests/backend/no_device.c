/* SPDX-License-Identifier: Apache-2.0
 *
 * A shared object that is no device library. */
#include "tenon/status.h"

TN_API int something_else(void);
int something_else(void) {
    return 1;
}
