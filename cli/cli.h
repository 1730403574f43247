/* SPDX-License-Identifier: Apache-2.0
 *
 * What the verbs of the command line share. A verb parses its own options with cli_options and returns the exit status:
 * 0 done, 1 a comparison or evaluation failed its limit, 2 an error (already printed). */
#ifndef TENON_CLI_H
#define TENON_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "tenon/build.h"
#include "tenon/runtime.h"

struct Cli;
struct CliOption;

typedef struct CliVerb {
    const char *name, *summary;
    const char *usage; /* "MODEL -o PLAN [options]" */
    const char *help;  /* paragraphs after the options */
    const struct CliOption *options; /* ends with a zeroed row */
    int (*run)(struct Cli *cli);
} CliVerb;

typedef enum CliKind { CLI_FLAG, CLI_TEXT, CLI_UINT, CLI_FLOAT, CLI_LIST } CliKind;

/* One option; `at` is the offset of its destination in CliArgs. CLI_LIST collects repeated values. */
typedef struct CliOption {
    const char *name; /* "threads" */
    char letter;      /* 't' or 0 */
    CliKind kind;
    size_t at;
    const char *value; /* "N" */
    const char *help;
} CliOption;

#define CLI_MAX_LIST 64
typedef struct CliList {
    const char *item[CLI_MAX_LIST];
    uint32_t n;
} CliList;

/* Values of all options of all verbs; what a verb does not list keeps its default. */
typedef struct CliArgs {
    bool quiet, json, help, tune, layers, profile, verify, reference, fp32, tf32, fp16, bf16, allow_cpu_steps, warm, device_io;
    const char *output, *shapes, *buckets, *timing_cache, *cpu, *after, *model, *expected, *outputs, *eval, *samples, *threads_list, *batches;
    const char *device, *target, *trace, *labels;
    const char *overlay, *html, *tokenizer, *config, *head, *attention, *score, *save_results;
    const char *features, *id, *picture, *list, *split, *vocab, *boxes;
    bool clip, word_boxes, beta;
    uint32_t overlap;
    CliList inputs;
    uint32_t threads, warmup, runs, batch, beams, max_length, tokens, streams, head_dim, image_size, top, long_side, short_side, max_regions, task;
    double duration, atol, rtol, min_confidence, score_threshold;
} CliArgs;

typedef struct Cli {
    const CliVerb *verb;
    CliArgs args;
    const char **positional;
    uint32_t n_positional;
    bool bar_open; /* a progress bar stands on the current line of stderr */
    TnProgress progress;
    TnLog log;
} Cli;

#define CLI_ARG(field) offsetof(CliArgs, field)
#define CLI_COMMON                                                                                       \
    {"quiet", 'q', CLI_FLAG, CLI_ARG(quiet), NULL, "no progress and no notes on stderr"},                \
        {"json", 0, CLI_FLAG, CLI_ARG(json), NULL, "results as JSON"},                                   \
        {"help", 'h', CLI_FLAG, CLI_ARG(help), NULL, "this text"}
#define CLI_BUILD                                                                                                                        \
    {"shapes", 's', CLI_TEXT, CLI_ARG(shapes), "SPEC", "ranges of symbols, min:opt:max, as in batch=1:4:8,seq=512"},                     \
        {"buckets", 0, CLI_TEXT, CLI_ARG(buckets), "SPEC", "choose kernels for these sizes too, as in batch=1:4:16,seq=128:512"},        \
        {"cpu", 0, CLI_TEXT, CLI_ARG(cpu), "LEVEL", "kernels for scalar, avx2 or avx512 (default: this machine)"},                       \
        {"reference", 0, CLI_FLAG, CLI_ARG(reference), NULL, "reference kernels only (slow, exact)"},                                    \
        {"tune", 0, CLI_FLAG, CLI_ARG(tune), NULL, "time the candidate kernels on this machine"},                                        \
        {"timing-cache", 0, CLI_TEXT, CLI_ARG(timing_cache), "FILE", "remember timings here"},                                           \
        CLI_FILE
/* What a checkpoint does not tell. */
#define CLI_FILE                                                                                                                         \
    {"head-dim", 0, CLI_UINT, CLI_ARG(head_dim), "N", "files of weights: width of an attention head (UniFormer: 32 or 64)"},             \
        {"image-size", 0, CLI_UINT, CLI_ARG(image_size), "N", "files of weights: height and width of pictures (UniFormer: 224)"},            \
        {"config", 0, CLI_TEXT, CLI_ARG(config), "FILE", "files of weights: their JSON configuration (ViLBERT)"},                            \
        {"head", 0, CLI_TEXT, CLI_ARG(head), "NAMES", "outputs of a checkpoint with several heads (ViLBERT: vision_logit)"},                 \
        {"attention", 0, CLI_TEXT, CLI_ARG(attention), "KIND", "files of a detector: global, window or hybrid (stage 3 of its backbone)"}
#define CLI_DEVICE                                                                                                                       \
    {"device", 0, CLI_TEXT, CLI_ARG(device), "D", "cpu, cuda or cuda:N: where the plan runs (default: cpu)"},                            \
        {"fp32", 0, CLI_FLAG, CLI_ARG(fp32), NULL, "GPU: compute in float32 (default)"},                                                 \
        {"tf32", 0, CLI_FLAG, CLI_ARG(tf32), NULL, "GPU: float32; products may round operands to TF32"},                                 \
        {"fp16", 0, CLI_FLAG, CLI_ARG(fp16), NULL, "GPU: float16 where the model bears it"},                                             \
        {"bf16", 0, CLI_FLAG, CLI_ARG(bf16), NULL, "GPU: bfloat16 where the model bears it"},                                            \
        {"target", 0, CLI_TEXT, CLI_ARG(target), "ARCH", "GPU architecture, as sm_90, when none is here (nothing is verified then)"},    \
        {"allow-cpu-steps", 0, CLI_FLAG, CLI_ARG(allow_cpu_steps), NULL, "GPU: steps without a GPU kernel run on the CPU"}
#define CLI_THREADS {"threads", 't', CLI_UINT, CLI_ARG(threads), "N", "threads (default: one a core)"}
#define CLI_END {NULL, 0, CLI_FLAG, 0, NULL, NULL}

extern const CliVerb cli_build, cli_run, cli_bench, cli_compare, cli_inspect, cli_explain, cli_ocr, cli_classify, cli_doc, cli_detect, cli_ground;

/* options.c: fills cli from argv; false when the caller should return *status (help printed or an error reported). */
bool cli_parse(Cli *cli, int argc, char **argv, int *status);
/* "tenon VERB: MESSAGE" to stderr; returns 2. */
int cli_error(Cli *cli, const TnError *err);
int cli_fail(Cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A note on stderr unless --quiet. */
void cli_note(Cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* open.c */
/* The build options of the command line. */
TnBuildOptions cli_build_options(Cli *cli);
/* false (reported) when several precisions were given. */
bool cli_precision_ok(Cli *cli);
/* true when path is a plan (by its first bytes), false when it is a model (ONNX file or checkpoint folder). */
bool cli_is_plan(const char *path);
/* Opens a plan, or builds one in memory from a model; close with cli_close. */
typedef struct CliPlan {
    TnPlan *plan;
    void *memory; /* of a plan built here */
} CliPlan;
TnStatus cli_open(Cli *cli, const char *path, CliPlan *out, TnError *err);
void cli_close(CliPlan *p);
/* Writes text to a FILE given as ctx. */
void cli_text_to_file(void *ctx, const char *text, size_t n);

/* tensors.c: inputs of a plan from --inputs (X.npz or name=file.npy), or made from the shapes when `make`; data is heap memory. */
TnStatus cli_inputs(Cli *cli, TnPlan *plan, bool make, uint32_t batch, TnTensor **out, uint32_t *n, TnError *err);
void cli_inputs_free(TnTensor *inputs, uint32_t n);

#endif
