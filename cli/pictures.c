/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures given on the command line. */
#include "cli/pictures.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "pipelines/util.h"

static bool ends_with(const char *name, const char *const *ends, size_t n_ends) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n_ends; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && strcasecmp(name + n - k, ends[i]) == 0)
            return true;
    }
    return false;
}

bool cli_is_picture(const char *name) {
    static const char *const ends[] = {".png", ".jpg", ".jpeg", ".npy"};
    return ends_with(name, ends, sizeof ends / sizeof *ends);
}

bool cli_is_list(const char *name) {
    static const char *const ends[] = {".tsv", ".txt", ".lst"};
    return ends_with(name, ends, sizeof ends / sizeof *ends);
}

bool cli_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int cli_not_hidden(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

int cli_by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

int cli_pictures_add(Cli *cli, CliPictures *p, const char *path) {
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 64 : p->cap * 2;
        char **grown = realloc(p->path, cap * sizeof *grown);
        if (grown == NULL)
            return cli_fail(cli, "out of memory");
        p->path = grown;
        p->cap = cap;
    }
    p->path[p->n] = strdup(path);
    if (p->path[p->n] == NULL)
        return cli_fail(cli, "out of memory");
    p->n++;
    return 0;
}

void cli_pictures_free(CliPictures *p) {
    for (size_t i = 0; i < p->n; i++)
        free(p->path[i]);
    free(p->path);
    *p = (CliPictures){0};
}

static int add_folder(Cli *cli, CliPictures *out, const char *dir) {
    struct dirent **names;
    int n = scandir(dir, &names, cli_not_hidden, cli_by_bytes), status = 0;
    size_t before = out->n;
    if (n < 0)
        return cli_fail(cli, "folder '%s' cannot be read", dir);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (status == 0 && cli_is_picture(names[i]->d_name) &&
            snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < (int)sizeof path)
            status = cli_pictures_add(cli, out, path);
        free(names[i]);
    }
    free(names);
    return status == 0 && out->n == before ? cli_fail(cli, "folder '%s' has no .png, .jpg, .jpeg or .npy file", dir) : status;
}

static int add_list(Cli *cli, CliPictures *out, const char *list) {
    TnError err = {0};
    void *data;
    size_t n;
    int status = 0;
    if (tnp_read_file(list, 256u << 20, &data, &n, &err) != TN_OK)
        return cli_error(cli, &err);
    const char *slash = strrchr(list, '/');
    int dir = slash == NULL ? 0 : (int)(slash + 1 - list);
    for (char *line = data, *next; status == 0 && *line != '\0'; line = next) {
        char path[PATH_MAX];
        size_t len = strcspn(line, "\n");
        next = line + len + (line[len] != '\0');
        line[len] = '\0';
        line[strcspn(line, "\r\t")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        if (snprintf(path, sizeof path, "%.*s%s", line[0] == '/' ? 0 : dir, list, line) >= (int)sizeof path)
            status = cli_fail(cli, "'%s': a path of more than %d bytes", list, PATH_MAX);
        else
            status = cli_pictures_add(cli, out, path);
    }
    free(data);
    return status;
}

int cli_pictures(Cli *cli, CliPictures *out) {
    int status = 0;
    *out = (CliPictures){0};
    for (uint32_t i = 0; status == 0 && i < cli->n_positional; i++) {
        const char *p = cli->positional[i];
        if (strcmp(p, "-") != 0 && cli_is_folder(p))
            status = add_folder(cli, out, p);
        else
            status = cli_is_list(p) ? add_list(cli, out, p) : cli_pictures_add(cli, out, p);
    }
    return status == 0 && out->n == 0 ? cli_fail(cli, "give pictures: files, folders, lists, or - for standard input") : status;
}
