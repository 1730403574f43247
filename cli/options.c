/* SPDX-License-Identifier: Apache-2.0
 *
 * Options by table: one row gives parsing (getopt_long) and help. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define MAX_OPTIONS 48

static void print_help(const Cli *cli) {
    const CliVerb *v = cli->verb;
    printf("usage: tenon %s %s\n\n%s\n\noptions:\n", v->name, v->usage, v->summary);
    for (const CliOption *o = v->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%c%s --%s%s%s", o->letter != 0 ? "-" : " ", o->letter != 0 ? o->letter : ' ',
                 o->letter != 0 ? "," : " ", o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
        printf("  %-28s %s\n", left, o->help);
    }
    if (v->help != NULL)
        printf("\n%s\n", v->help);
}

static const CliOption *find_option(const CliVerb *v, const char *name, char letter) {
    for (const CliOption *o = v->options; o->name != NULL; o++) {
        if ((name != NULL && strcmp(o->name, name) == 0) || (letter != 0 && o->letter == letter))
            return o;
    }
    return NULL;
}

static bool store(Cli *cli, const CliOption *o, const char *value) {
    char *at = (char *)&cli->args + o->at, *end;
    errno = 0;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)at = true;
        return true;
    case CLI_TEXT:
        *(const char **)at = value;
        return true;
    case CLI_LIST: {
        CliList *list = (CliList *)at;
        if (list->n == CLI_MAX_LIST)
            return cli_fail(cli, "--%s is given more than %d times", o->name, CLI_MAX_LIST), false;
        list->item[list->n++] = value;
        return true;
    }
    case CLI_UINT: {
        unsigned long n = strtoul(value, &end, 10);
        if (errno != 0 || *end != '\0' || end == value || value[0] == '-' || n > 1000000000ul)
            return cli_fail(cli, "--%s takes a whole number, not '%s'", o->name, value), false;
        *(uint32_t *)at = (uint32_t)n;
        return true;
    }
    case CLI_FLOAT: {
        double d = strtod(value, &end);
        if (errno != 0 || *end != '\0' || end == value || !(d >= 0))
            return cli_fail(cli, "--%s takes a number of at least 0, not '%s'", o->name, value), false;
        *(double *)at = d;
        return true;
    }
    }
    return false;
}

bool cli_parse(Cli *cli, int argc, char **argv, int *status) {
    struct option longs[MAX_OPTIONS + 1] = {0};
    char shorts[2 * MAX_OPTIONS + 2] = ":";
    size_t n_shorts = 1;
    int n = 0, c, index;
    for (const CliOption *o = cli->verb->options; o->name != NULL && n < MAX_OPTIONS; o++, n++) {
        longs[n] = (struct option){o->name, o->kind == CLI_FLAG ? no_argument : required_argument, NULL, 256 + n};
        if (o->letter != 0) {
            shorts[n_shorts++] = o->letter;
            if (o->kind != CLI_FLAG)
                shorts[n_shorts++] = ':';
        }
    }
    *status = 2;
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, shorts, longs, &index)) != -1) {
        const CliOption *o = c >= 256 ? &cli->verb->options[c - 256] : c != '?' && c != ':' ? find_option(cli->verb, NULL, (char)c) : NULL;
        if (c == ':') {
            cli_fail(cli, "option '%s' needs a value", argv[optind - 1]);
            return false;
        }
        if (o == NULL) {
            cli_fail(cli, "there is no option '%s'; see 'tenon %s --help'", argv[optind - 1], cli->verb->name);
            return false;
        }
        if (!store(cli, o, optarg))
            return false;
    }
    if (cli->args.help) {
        print_help(cli);
        *status = 0;
        return false;
    }
    cli->positional = (const char **)(argv + optind);
    cli->n_positional = (uint32_t)(argc - optind);
    return true;
}

static void end_bar(Cli *cli) {
    if (cli->bar_open)
        fputs("\r\033[K", stderr);
    cli->bar_open = false;
}

int cli_fail(Cli *cli, const char *fmt, ...) {
    va_list ap;
    end_bar(cli);
    fprintf(stderr, "tenon %s: ", cli->verb->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 2;
}

/* A GPU that failed may never come to rest, and what its driver runs at exit could wait for it: the process ends here, with nothing lost, since
 * files appear whole or not at all. */
int cli_error(Cli *cli, const TnError *err) {
    const int status = cli_fail(cli, "%s%s", err->message[0] != '\0' ? err->message : tn_status_meaning(err->code), "");
    if (err->code != TN_ERR_DEVICE)
        return status;
    fflush(stdout);
    fflush(stderr);
    _exit(status);
}

void cli_note(Cli *cli, const char *fmt, ...) {
    va_list ap;
    if (cli->args.quiet)
        return;
    end_bar(cli);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}
