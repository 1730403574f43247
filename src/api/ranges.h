/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges that follow from others. */
#ifndef TENON_API_RANGES_H
#define TENON_API_RANGES_H

#include "ir/graph.h"

/* Does nothing when the module is no generator. TN_ERR_PLAN when its generation entry is damaged. */
TnStatus tni_api_generator_ranges(IrModule *m, TnError *err);

#endif
