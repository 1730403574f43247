/* SPDX-License-Identifier: Apache-2.0
 *
 * A step of a search (kernel/search.h) as the fake device does it: one row, one line after another. */
#ifndef TENON_TESTS_FAKE_SEARCH_H
#define TENON_TESTS_FAKE_SEARCH_H

#include <stddef.h>

#include "kernel/search.h"

/* s: device addresses; behind(p, n, what) gives the bytes behind them. */
void fake_search(const TnSearch *s, void *(*behind)(const void *p, size_t n, const char *what));

#endif
