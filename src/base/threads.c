/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker pool. A job is published by bumping `generation`; workers take tasks from one atomic counter; the caller works too. Workers
 * spin for a while before they sleep, since steps follow each other within microseconds. */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define SPIN_NS 200000u /* longer than the gap between two parallel steps, short against a scheduler tick */
#define MAX_THREADS 1024u

typedef struct Worker {
    struct TnThreads *pool;
    pthread_t thread;
    uint32_t index;
} Worker;

struct TnThreads {
    const TnAllocator *alloc;
    uint32_t count; /* including the caller */
    uint32_t started;
    Worker *workers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint sleepers;
    atomic_uint generation;
    atomic_bool stop;
    /* the job */
    TnTaskFn fn;
    void *ctx;
    int64_t n_tasks;
    _Alignas(64) atomic_llong next;
    _Alignas(64) atomic_uint busy; /* workers that have not finished the job */
};

TN_INLINE void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(TnThreads *t, uint32_t worker) {
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
        if (task >= t->n_tasks)
            return;
        t->fn(t->ctx, task, worker);
    }
}

static void wait_for_job(TnThreads *t, uint32_t seen) {
    uint64_t start = tni_now_ns();
    for (uint32_t i = 1;; i++) {
        if (atomic_load_explicit(&t->generation, memory_order_acquire) != seen)
            return;
        relax();
        if (i % 64 == 0 && tni_now_ns() - start > SPIN_NS)
            break;
    }
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->sleepers, 1);
    while (atomic_load(&t->generation) == seen)
        pthread_cond_wait(&t->wake, &t->mutex);
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->mutex);
}

static void *worker_main(void *arg) {
    Worker *w = arg;
    TnThreads *t = w->pool;
    for (uint32_t seen = 0;;) {
        wait_for_job(t, seen);
        seen++;
        if (atomic_load(&t->stop))
            return NULL;
        work(t, w->index);
        atomic_fetch_sub_explicit(&t->busy, 1, memory_order_release);
    }
}

static void publish(TnThreads *t) {
    atomic_fetch_add(&t->generation, 1);
    if (atomic_load(&t->sleepers) != 0) {
        pthread_mutex_lock(&t->mutex);
        pthread_cond_broadcast(&t->wake);
        pthread_mutex_unlock(&t->mutex);
    }
}

static uint32_t usable_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (uint32_t)n;
}

TnStatus tni_threads_create(const TnAllocator *a, uint32_t n, TnThreads **out, TnError *err) {
    *out = NULL;
    if (n == 0)
        n = TN_MIN(usable_cores(), MAX_THREADS);
    if (n > MAX_THREADS)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "%u threads asked for; at most %u are supported", n, MAX_THREADS);
    TnThreads *t = tni_alloc_aligned(a, sizeof *t, 64);
    if (t == NULL)
        return TN_OOM(err, sizeof *t);
    memset(t, 0, sizeof *t);
    t->alloc = a;
    t->count = n;
    t->workers = tni_calloc(a, n, sizeof *t->workers);
    if (t->workers == NULL) {
        tni_free(a, t);
        return TN_OOM(err, n * sizeof(Worker));
    }
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (uint32_t i = 1; i < n; i++) {
        t->workers[i] = (Worker){.pool = t, .index = i};
        int e = pthread_create(&t->workers[i].thread, NULL, worker_main, &t->workers[i]);
        if (e != 0) {
            tni_threads_destroy(&t);
            return TN_RAISE(err, TN_ERR_THREAD, "worker thread %u of %u could not be started: %s", i, n - 1, strerror(e));
        }
        t->started++;
    }
    *out = t;
    return TN_OK;
}

void tni_threads_destroy(TnThreads **tp) {
    TnThreads *t = *tp;
    if (t == NULL)
        return;
    atomic_store(&t->stop, true);
    publish(t);
    for (uint32_t i = 1; i <= t->started; i++)
        pthread_join(t->workers[i].thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mutex);
    tni_free(t->alloc, t->workers);
    tni_free(t->alloc, t);
    *tp = NULL;
}

uint32_t tni_threads_count(const TnThreads *t) { return t == NULL ? 1 : t->count; }

void tni_parallel_for(TnThreads *t, int64_t n_tasks, TnTaskFn fn, void *ctx) {
    if (t == NULL || t->count == 1 || n_tasks <= 1) {
        for (int64_t i = 0; i < n_tasks; i++)
            fn(ctx, i, 0);
        return;
    }
    t->fn = fn;
    t->ctx = ctx;
    t->n_tasks = n_tasks;
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
    atomic_store_explicit(&t->busy, t->count - 1, memory_order_relaxed);
    publish(t);
    work(t, 0);
    for (uint32_t i = 1; atomic_load_explicit(&t->busy, memory_order_acquire) != 0; i++) {
        relax();
        if (i % 4096 == 0)
            sched_yield(); /* more threads than cores: let the stragglers run */
    }
}
