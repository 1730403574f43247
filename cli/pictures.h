/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures given on the command line: files, folders, lists. */
#ifndef TENON_CLI_PICTURES_H
#define TENON_CLI_PICTURES_H

#include <dirent.h>

#include "cli/cli.h"

/* By the end of the name: .png .jpg .jpeg .npy; .tsv .txt .lst. */
bool cli_is_picture(const char *name);
bool cli_is_list(const char *name);
bool cli_is_folder(const char *path);
/* For scandir: names that do not start with a point; byte order. */
int cli_not_hidden(const struct dirent *entry);
int cli_by_bytes(const struct dirent **a, const struct dirent **b);

typedef struct CliPictures {
    char **path; /* heap memory */
    size_t n, cap;
} CliPictures;

/* All positional arguments: files ("-": standard input), folders (the pictures in them in byte order), lists (a picture a row, relative to
 * the list; what follows a tab is not read; '#' starts a comment). Returns the exit status, errors printed; release with cli_pictures_free
 * in any case. */
int cli_pictures(Cli *cli, CliPictures *out);
int cli_pictures_add(Cli *cli, CliPictures *pictures, const char *path);
void cli_pictures_free(CliPictures *pictures);

#endif
