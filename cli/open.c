/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans, from files or built on the spot, with progress and notes. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "pipelines/util.h"

static int show_progress(void *ctx, const char *phase, size_t done, size_t total) {
    Cli *cli = ctx;
    char bar[31];
    size_t fill = total == 0 ? 0 : done * (sizeof bar - 1) / total;
    for (size_t i = 0; i < sizeof bar - 1; i++)
        bar[i] = i < fill ? '#' : '.';
    bar[sizeof bar - 1] = '\0';
    fprintf(stderr, "\r\033[K%-10s [%s] %zu/%zu", phase, bar, done, total);
    cli->bar_open = done < total;
    if (done >= total)
        fputs("\r\033[K", stderr);
    fflush(stderr);
    return 0;
}

static void show_log(void *ctx, TnLogLevel level, const char *message) {
    if (level == TN_LOG_WARNING) /* errors come back as the call's message */
        cli_note(ctx, "warning: %s", message);
    else if (level == TN_LOG_INFO && strncmp(message, "precision: ", 11) == 0) /* what became of --fp16 */
        cli_note(ctx, "%s", message);
}

/* NULL: none was given. */
static const char *precision(const CliArgs *a) {
    return a->fp16 ? "fp16" : a->bf16 ? "bf16" : a->tf32 ? "tf32" : a->fp32 ? "fp32" : NULL;
}

bool cli_precision_ok(Cli *cli) {
    const CliArgs *a = &cli->args;
    if (a->fp32 + a->tf32 + a->fp16 + a->bf16 <= 1)
        return true;
    cli_fail(cli, "give one of --fp32, --tf32, --fp16, --bf16");
    return false;
}

TnBuildOptions cli_build_options(Cli *cli) {
    TnBuildOptions o = tn_build_options_default();
    cli->log = (TnLog){show_log, cli};
    cli->progress = (TnProgress){show_progress, cli};
    o.shapes = cli->args.shapes;
    o.buckets = cli->args.buckets;
    o.head_dim = cli->args.head_dim;
    o.image_size = cli->args.image_size;
    o.attention = cli->args.attention;
    o.config = cli->args.config;
    o.head = cli->args.head;
    o.tune = cli->args.tune;
    o.threads = cli->args.threads;
    o.timing_cache = cli->args.timing_cache;
    o.cpu = cli->args.cpu;
    o.reference = cli->args.reference;
    o.device = cli->args.device;
    o.precision = precision(&cli->args);
    o.target = cli->args.target;
    o.allow_cpu_steps = cli->args.allow_cpu_steps;
    o.log = cli->args.quiet ? NULL : &cli->log;
    o.progress = cli->args.quiet || !isatty(STDERR_FILENO) ? NULL : &cli->progress;
    return o;
}

bool cli_is_plan(const char *path) {
    char magic[8] = {0};
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    size_t n = fread(magic, 1, sizeof magic, f);
    fclose(f);
    size_t len = strlen(path);
    return (n == sizeof magic && memcmp(magic, "TENONPLN", sizeof magic) == 0) || (len > 5 && strcmp(path + len - 5, ".plan") == 0);
}

/* --device cuda:N: which GPU. */
static int32_t device_index(const CliArgs *a) {
    const char *colon = a->device == NULL ? NULL : strchr(a->device, ':');
    return colon == NULL ? -1 : (int32_t)strtol(colon + 1, NULL, 10);
}

static TnPlanOptions plan_options(const Cli *cli) {
    TnPlanOptions po = tn_plan_options_default();
    po.verify_weights = cli->args.verify;
    po.device_index = device_index(&cli->args);
    po.inspect = cli->verb == &cli_inspect || cli->verb == &cli_explain; /* works where there is no GPU */
    return po;
}

/* A plan runs where it was built for; to ask for another place is an error. */
static TnStatus check_device(const Cli *cli, const TnPlan *plan, TnError *err) {
    TnDeviceDescription d;
    const char *asked = cli->args.device;
    TnStatus st = tn_plan_device(plan, &d, err);
    if (st != TN_OK || asked == NULL || (strncmp(asked, d.kind, strlen(d.kind)) == 0 && strchr(":", asked[strlen(d.kind)]) != NULL))
        return st;
    return tnp_fail(err, TN_ERR_REQUEST, "--device %s: this plan was built for %s; build the model again for another device", asked, d.kind);
}

TnStatus cli_open(Cli *cli, const char *path, CliPlan *out, TnError *err) {
    *out = (CliPlan){0};
    if (cli_is_plan(path)) {
        if (precision(&cli->args) != NULL)
            return tnp_fail(err, TN_ERR_ARGUMENT, "--%s is for models; what '%s' computes in was settled when it was built", precision(&cli->args), path);
        TnPlanOptions po = plan_options(cli);
        TnStatus opened = tn_plan_open(path, &po, &out->plan, err);
        if (opened == TN_OK)
            opened = check_device(cli, out->plan, err);
        if (opened != TN_OK)
            cli_close(out);
        return opened;
    }
    TnBuildOptions o = cli_build_options(cli);
    TnPlanOptions po = plan_options(cli);
    size_t n;
    TnStatus st = tn_build_memory(path, &o, &out->memory, &n, err);
    if (st == TN_OK)
        st = tn_plan_open_memory(out->memory, n, &po, &out->plan, err);
    if (st != TN_OK)
        cli_close(out);
    return st;
}

void cli_close(CliPlan *p) {
    tn_plan_close(&p->plan);
    if (p->memory != NULL) {
        TnBuildOptions o = tn_build_options_default();
        tn_build_free(&o, p->memory);
    }
    *p = (CliPlan){0};
}

void cli_text_to_file(void *ctx, const char *text, size_t n) { fwrite(text, 1, n, ctx); }
