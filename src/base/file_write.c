/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that appear whole or not at all: temporary file, fsync, rename. */
#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TnStatus tni_file_write_begin(TnFileWriter *w, const TnAllocator *a, const char *path, TnError *err) {
    static const char suffix[] = ".tmp-XXXXXX";
    size_t n = strlen(path);
    *w = (TnFileWriter){.fd = -1, .alloc = a};
    w->path = tni_calloc(a, n + 1, 1);
    w->tmp = tni_calloc(a, n + sizeof suffix, 1);
    if (w->path == NULL || w->tmp == NULL) {
        tni_file_write_abort(w);
        return TN_OOM(err, n);
    }
    memcpy(w->path, path, n);
    memcpy(w->tmp, path, n);
    memcpy(w->tmp + n, suffix, sizeof suffix);
    w->fd = mkostemp(w->tmp, O_CLOEXEC);
    if (w->fd < 0) {
        TnStatus st = TN_RAISE(err, TN_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
        w->tmp[0] = '\0';
        tni_file_write_abort(w);
        return st;
    }
    return TN_OK;
}

TnStatus tni_file_write(TnFileWriter *w, const void *data, size_t n, TnError *err) {
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t k = write(w->fd, p, TN_MIN(n, (size_t)1 << 30));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return TN_RAISE(err, TN_ERR_IO, "'%s' cannot be written: %s", w->path, strerror(k < 0 ? errno : ENOSPC));
        p += k;
        n -= (size_t)k;
        w->pos += (uint64_t)k;
    }
    return TN_OK;
}

TnStatus tni_file_write_zeros(TnFileWriter *w, size_t n, TnError *err) {
    static const uint8_t zeros[4096];
    for (; n > 0; n -= TN_MIN(n, sizeof zeros))
        TN_TRY(tni_file_write(w, zeros, TN_MIN(n, sizeof zeros), err));
    return TN_OK;
}

TnStatus tni_file_write_commit(TnFileWriter *w, TnError *err) {
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(w->fd, 0666 & ~mask) != 0 || fsync(w->fd) != 0 || rename(w->tmp, w->path) != 0) {
        TnStatus st = TN_RAISE(err, TN_ERR_IO, "'%s' cannot be written: %s", w->path, strerror(errno));
        tni_file_write_abort(w);
        return st;
    }
    w->tmp[0] = '\0';
    tni_file_write_abort(w);
    return TN_OK;
}

void tni_file_write_abort(TnFileWriter *w) {
    if (w->fd >= 0)
        close(w->fd);
    if (w->tmp != NULL && w->tmp[0] != '\0')
        unlink(w->tmp);
    tni_free(w->alloc, w->path);
    tni_free(w->alloc, w->tmp);
    *w = (TnFileWriter){.fd = -1};
}
