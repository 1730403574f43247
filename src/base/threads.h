/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of worker threads that the caller owns. Work is cut into tasks by the kernel, never by the number of threads, so that
 * results do not depend on it. */
#ifndef TENON_BASE_THREADS_H
#define TENON_BASE_THREADS_H

#include "base/base.h"

typedef struct TnThreads TnThreads;

/* n >= 1 threads including the caller; n == 0: one per usable core. Workers spin for a short while, then sleep. */
TnStatus tni_threads_create(const TnAllocator *a, uint32_t n, TnThreads **out, TnError *err);
void tni_threads_destroy(TnThreads **t); /* joins the workers */
uint32_t tni_threads_count(const TnThreads *t); /* 1 when t is NULL */

/* Calls fn(ctx, task, worker) for every task in [0, n_tasks), in any order, on any worker (0 <= worker < count), and returns
 * when all are done. t == NULL or n_tasks <= 1 runs in the caller. Not reentrant from inside a task. No allocation. */
typedef void (*TnTaskFn)(void *ctx, int64_t task, uint32_t worker);
void tni_parallel_for(TnThreads *t, int64_t n_tasks, TnTaskFn fn, void *ctx);

#endif
