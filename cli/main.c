/* SPDX-License-Identifier: Apache-2.0
 *
 * The program `tenon`: a table of verbs. */
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

static const CliVerb *const verbs[] = {&cli_build, &cli_run, &cli_bench, &cli_compare, &cli_inspect, &cli_explain, &cli_ocr, &cli_classify, &cli_detect, &cli_doc,
                                       &cli_ground};
#define N_VERBS (sizeof verbs / sizeof *verbs)

static void usage(FILE *f) {
    fputs("usage: tenon VERB ...\n\nCompiles document and vision-language transformers into plans and runs them.\n\nverbs:\n", f);
    for (size_t i = 0; i < N_VERBS; i++)
        fprintf(f, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\n'tenon VERB --help' explains a verb; 'tenon --version' prints the version.\n", f);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_DFL);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tenon %s\n", tn_version());
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < N_VERBS; i++) {
        if (strcmp(argv[1], verbs[i]->name) != 0)
            continue;
        int status;
        Cli cli = {.verb = verbs[i], .args = {.atol = NAN, .rtol = NAN, .min_confidence = NAN, .score_threshold = NAN, .duration = NAN, .overlap = UINT32_MAX}};
        if (!cli_parse(&cli, argc - 1, argv + 1, &status))
            return status;
        status = verbs[i]->run(&cli);
        if (fflush(stdout) != 0 || ferror(stdout))
            return cli_fail(&cli, "standard output cannot be written");
        return status;
    }
    fprintf(stderr, "tenon: there is no verb '%s'; see 'tenon --help'\n", argv[1]);
    return 2;
}
