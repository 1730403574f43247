/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounds-checked reading, mapped files. */
#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool tni_span_sub(TnSpan s, uint64_t off, uint64_t n, TnSpan *out) {
    if (off > s.n || n > s.n - off)
        return false;
    *out = (TnSpan){s.p + off, (size_t)n, s.base + off};
    return true;
}

bool tni_span_u32(TnSpan s, uint64_t off, uint32_t *out) {
    TnSpan b;
    if (!tni_span_sub(s, off, 4, &b))
        return false;
    *out = (uint32_t)b.p[0] | (uint32_t)b.p[1] << 8 | (uint32_t)b.p[2] << 16 | (uint32_t)b.p[3] << 24;
    return true;
}

bool tni_span_u64(TnSpan s, uint64_t off, uint64_t *out) {
    uint32_t lo, hi;
    if (!tni_span_u32(s, off, &lo) || !tni_span_u32(s, off + 4, &hi))
        return false;
    *out = (uint64_t)hi << 32 | lo;
    return true;
}

/* Maps fd (closed in any case). path is for messages. */
static TnStatus map_fd(int fd, const char *path, TnFileMap *out, TnError *err) {
    struct stat st;
    *out = (TnFileMap){NULL, 0};
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return TN_RAISE(err, TN_ERR_IO, "'%s' is not a regular file", path);
    }
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            int e = errno;
            close(fd);
            return TN_RAISE(err, TN_ERR_IO, "'%s' cannot be mapped: %s", path, strerror(e));
        }
        *out = (TnFileMap){p, (size_t)st.st_size};
    }
    close(fd);
    return TN_OK;
}

TnStatus tni_file_map(const char *path, TnFileMap *out, TnError *err) {
    *out = (TnFileMap){NULL, 0};
    /* O_NONBLOCK: opening a FIFO must not hang; it is refused as no regular file. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return TN_RAISE(err, TN_ERR_IO, "'%s' cannot be opened: %s", path, strerror(errno));
    return map_fd(fd, path, out, err);
}

TnStatus tni_file_map_below(const char *dir, const char *relative, TnFileMap *out, TnError *err) {
    *out = (TnFileMap){NULL, 0};
    if (relative[0] == '\0' || relative[0] == '/' || strchr(relative, '\\') != NULL)
        return TN_RAISE(err, TN_ERR_PATH, "file name '%s' must be relative to the model's folder, with forward slashes", relative);
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return TN_RAISE(err, TN_ERR_IO, "folder '%s' cannot be opened: %s", dir, strerror(errno));
    /* One component at a time, links refused, so that no step can leave the folder. */
    const char *p = relative;
    for (;;) {
        char part[256];
        size_t n = strcspn(p, "/");
        bool last = p[n] == '\0';
        if (n >= sizeof part || (n == 2 && p[0] == '.' && p[1] == '.')) {
            close(at);
            return TN_RAISE(err, TN_ERR_PATH, "file name '%s' would leave the model's folder; put the file below it", relative);
        }
        memcpy(part, p, n);
        part[n] = '\0';
        if (n == 0 || (n == 1 && part[0] == '.')) {
            if (last) {
                close(at);
                return TN_RAISE(err, TN_ERR_PATH, "file name '%s' does not name a file", relative);
            }
            p += n + 1;
            continue;
        }
        int fd = openat(at, part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        int e = errno;
        close(at);
        if (fd < 0) {
            if (e == ELOOP || (!last && e == ENOTDIR))
                return TN_RAISE(err, TN_ERR_PATH, "'%s' in '%s' passes a symbolic link or a non-folder; use a real file below the folder",
                                relative, dir);
            return TN_RAISE(err, TN_ERR_IO, "'%s' in '%s' cannot be opened: %s", relative, dir, strerror(e));
        }
        if (!last) {
            at = fd;
            p += n + 1;
            continue;
        }
        TnStatus st = map_fd(fd, relative, out, err);
        if (st == TN_ERR_IO && err != NULL)
            err->code = TN_ERR_PATH;
        return st == TN_ERR_IO ? TN_ERR_PATH : st;
    }
}

void tni_file_unmap(TnFileMap *map) {
    if (map->data != NULL)
        munmap((void *)(uintptr_t)map->data, map->n);
    *map = (TnFileMap){NULL, 0};
}
