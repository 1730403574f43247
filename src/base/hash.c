/* SPDX-License-Identifier: Apache-2.0
 *
 * The 64-bit hash: XXH3 of the xxHash library, compiled in. */
#include "base/base.h"

#define XXH_INLINE_ALL
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif
#include <xxhash.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

uint64_t tni_hash(const void *data, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(data, n, seed); }
