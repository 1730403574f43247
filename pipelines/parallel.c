/* SPDX-License-Identifier: Apache-2.0
 *
 * Work on many pictures side by side: items by number, taken in order by as many threads as there are. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "pipelines/util.h"

#define MAX_THREADS 64

typedef struct Work {
    TnpJob job;
    void *context;
    uint32_t n;
    atomic_uint next;
    pthread_mutex_t lock; /* of what follows */
    uint32_t failed;      /* the first item that failed, n: none. Items are taken in order, so those before it are finished, whatever failed first */
    TnStatus status;
    TnError error;
} Work;

static void *work(void *p) {
    Work *w = p;
    for (uint32_t i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) {
        TnError err = {0};
        TnStatus st = w->job(w->context, i, &err);
        if (st == TN_OK)
            continue;
        pthread_mutex_lock(&w->lock);
        if (i < w->failed) {
            w->failed = i;
            w->status = st;
            w->error = err;
        }
        pthread_mutex_unlock(&w->lock);
        atomic_store(&w->next, w->n); /* no more */
        break;
    }
    return NULL;
}

TnStatus tnp_parallel(uint32_t n, uint32_t threads, TnpJob job, void *context, TnError *err) {
    if (threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores < 1 ? 1 : (uint32_t)cores;
    }
    threads = threads < n ? threads : n;
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    if (threads <= 1) {
        TnStatus st = TN_OK;
        for (uint32_t i = 0; i < n && st == TN_OK; i++)
            st = job(context, i, err);
        return st;
    }
    Work w = {.job = job, .context = context, .n = n, .lock = PTHREAD_MUTEX_INITIALIZER, .failed = n};
    pthread_t others[MAX_THREADS];
    uint32_t made = 0;
    while (made < threads - 1 && pthread_create(&others[made], NULL, work, &w) == 0)
        made++; /* what cannot be made is done without */
    work(&w);
    for (uint32_t i = 0; i < made; i++)
        pthread_join(others[i], NULL);
    pthread_mutex_destroy(&w.lock);
    if (w.failed < n && err != NULL)
        *err = w.error;
    return w.failed < n ? w.status : TN_OK;
}
