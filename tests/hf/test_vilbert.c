/* SPDX-License-Identifier: Apache-2.0
 *
 * ViLBERT checkpoints against PyTorch's outputs of the authors' code (make_vilbert_files.py): every head, every module; the same plan as
 * from ONNX; what leaves when a head is chosen; and what is said about checkpoints, configurations and options that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hf/hf.h"
#include "pipelines/tensor_error.h"
#include "tenon/build.h"
#include "tenon/runtime.h"
#include "vilbert_golden.h"

#define TOLERANCE 2e-5 /* of a scale; a head whose layer norm sees small differences is at 1e-5 */

static TnBuildOptions options_of(const char *config, const char *head) {
    TnBuildOptions o = tn_build_options_default();
    o.threads = 2;
    o.config = config;
    o.head = head;
    return o;
}

typedef struct Open {
    TnPlan *plan;
    TnContext *context;
    void *memory;
} Open;

static TnStatus open_model(const char *model, const TnBuildOptions *o, Open *out, TnError *err) {
    size_t n;
    *out = (Open){0};
    TnStatus st = tn_build_memory(model, o, &out->memory, &n, err);
    if (st == TN_OK)
        st = tn_plan_open_memory(out->memory, n, NULL, &out->plan, err);
    return st == TN_OK ? tn_context_create(out->plan, NULL, &out->context, err) : st;
}

static void close_model(Open *o) {
    tn_context_destroy(&o->context);
    tn_plan_close(&o->plan);
    tn_build_free(NULL, o->memory);
}

static TnStatus run_on(const Open *m, const TnNpz *golden, int run, TnError *err) {
    TnIoInfo info;
    TnStatus st = TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < tn_plan_input_count(m->plan); i++) {
        assert_int_equal(tn_plan_input(m->plan, i, &info, err), TN_OK);
        st = tn_context_set_input(m->context, i, golden_tensor(golden, strcmp(info.name, "question") == 0 ? "input_ids" : info.name, run),
                                  err);
    }
    return st == TN_OK ? tn_context_run(m->context, err) : st;
}

static void heads_agree_with_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *name, *heads;
        uint32_t n;
    } rows[] = {{"vilbert", ALL_HEADS, 9}, {"vilbert_task", ALL_HEADS, 9}, {"vilbert_odd", ALL_HEADS, 9}, {"vilbert_beta", BETA_HEADS, 7}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char model[512], config[512];
        TnNpz golden;
        Open m;
        TnError err = {0};
        snprintf(model, sizeof model, DATA "%s.bin", rows[r].name);
        snprintf(config, sizeof config, DATA "%s.json", rows[r].name);
        golden_open(rows[r].name, &golden);
        TnBuildOptions o = options_of(config, rows[r].heads);
        if (open_model(model, &o, &m, &err) != TN_OK)
            fail_msg("%s: %s", rows[r].name, err.message);
        assert_int_equal(tn_plan_output_count(m.plan), rows[r].n);
        for (int run = 0; run < 2; run++) {
            if (run_on(&m, &golden, run, &err) != TN_OK)
                fail_msg("%s: %s", rows[r].name, err.message);
            for (uint32_t i = 0; i < rows[r].n; i++) {
                TnIoInfo info;
                TnTensor got;
                assert_int_equal(tn_plan_output(m.plan, i, &info, &err), TN_OK);
                assert_int_equal(tn_context_output(m.context, i, &got, &err), TN_OK);
                double e = off_by(&got, golden_tensor(&golden, info.name, run));
                if (!(e <= TOLERANCE))
                    fail_msg("%s, %s, run %d: off by %g of the scale", rows[r].name, info.name, run, e);
            }
        }
        close_model(&m);
        tn_npz_free(NULL, &golden);
    }
}

typedef struct Seen {
    const TnNpz *golden;
    uint32_t n;
    double worst;
    char where[128];
} Seen;

static void see(void *ctx, const char *name, const TnTensor *t) {
    Seen *s = ctx;
    const TnTensor *want = strncmp(name, "bert.", 5) == 0 ? golden_find(s->golden, name, 0) : NULL;
    if (want == NULL)
        return;
    const double e = off_by(t, want);
    s->n++;
    if (!(e <= s->worst)) {
        s->worst = e;
        snprintf(s->where, sizeof s->where, "%s", name);
    }
}

/* Embeddings, every layer of the three kinds and both poolers, in the graph as it is imported. */
static void modules_agree_with_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t modules;
    } rows[] = {{"vilbert", 13}, {"vilbert_task", 13}, {"vilbert_odd", 17}, {"vilbert_beta", 13}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char model[512], config[512];
        TnNpz golden;
        TnReference *ref;
        TnTensor in[8] = {{0}}, out[2];
        TnError err = {0};
        snprintf(model, sizeof model, DATA "%s.bin", rows[r].name);
        snprintf(config, sizeof config, DATA "%s.json", rows[r].name);
        golden_open(rows[r].name, &golden);
        TnBuildOptions o = options_of(config, "vil_logit,linguisic_logit");
        Seen seen = {.golden = &golden};
        if (tn_reference_open(model, &o, &ref, &err) != TN_OK)
            fail_msg("%s: %s", rows[r].name, err.message);
        assert_int_equal(tn_reference_output_count(ref), 2);
        for (uint32_t i = 0; i < tn_reference_input_count(ref); i++)
            in[i] = *golden_tensor(&golden, tn_reference_input_name(ref, i), 0);
        if (tn_reference_run(ref, in, out, see, &seen, &err) != TN_OK)
            fail_msg("%s: %s", rows[r].name, err.message);
        if (seen.n != rows[r].modules || !(seen.worst <= TOLERANCE))
            fail_msg("%s: %u modules seen, the worst, '%s', off by %g of its scale", rows[r].name, seen.n, seen.where, seen.worst);
        tn_build_free(&o, out[0].data);
        tn_build_free(&o, out[1].data);
        tn_reference_close(&ref);
        tn_npz_free(NULL, &golden);
    }
}

/* ---- a network of full size: TN_VILBERT=FOLDER/vilbert_full, as make_vilbert_files.py --full makes it; tells every error ---- */

/* Without hidden regions, which would stretch the scale. */
static TnTensor shown(const TnTensor *t, const TnTensor *want) {
    TnTensor out = {.dtype = TN_F32, .rank = 1, .data = malloc((size_t)tn_tensor_numel(t) * sizeof(float))};
    for (int64_t i = 0; i < tn_tensor_numel(t); i++) {
        if (((const float *)want->data)[i] > -5000)
            ((float *)out.data)[out.dims[0]++] = ((const float *)t->data)[i];
    }
    return out;
}

static void tell(const TnNpz *golden, const char *name, const TnTensor *got, int run) {
    const TnTensor *want = golden_find(golden, name, run);
    TnTensorError e;
    TnError err = {0};
    if (want == NULL)
        return;
    assert_int_equal(tn_tensor_numel(got), tn_tensor_numel(want));
    TnTensor a = shown(got, want), b = shown(want, want);
    if (tn_tensor_error(&a, &b, &e, &err) != TN_OK)
        fail_msg("%s: %s", name, err.message);
    free(a.data);
    free(b.data);
    printf("run %d  %-52s scale %8.3g  max %.1e  mean %.1e  median %.1e of it\n", run, name, e.scale, e.max_abs / e.scale,
           e.mean_abs / e.scale, e.median_abs / e.scale);
    assert_true(off_by(got, want) <= TOLERANCE);
}

static void tell_module(void *ctx, const char *name, const TnTensor *t) {
    if (strncmp(name, "bert.", 5) == 0)
        tell(ctx, name, t, 0);
}

static void a_network_of_full_size_agrees(void **state) {
    (void)state;
    const char *base = getenv("TN_VILBERT");
    char model[512], config[512], arrays[512];
    TnNpz golden;
    TnReference *ref;
    TnTensor in[8] = {{0}}, out[16], got;
    TnIoInfo info;
    Open m;
    TnError err = {0};
    if (base == NULL)
        skip();
    snprintf(model, sizeof model, "%s.bin", base);
    snprintf(config, sizeof config, "%s.json", base);
    snprintf(arrays, sizeof arrays, "%s.npz", base);
    TnBuildOptions o = options_of(config, ALL_HEADS);
    if (tn_npz_read(arrays, NULL, &golden, &err) != TN_OK || open_model(model, &o, &m, &err) != TN_OK ||
        tn_reference_open(model, &o, &ref, &err) != TN_OK)
        fail_msg("%s: %s", base, err.message);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(run_on(&m, &golden, run, &err), TN_OK);
        for (uint32_t i = 0; i < tn_plan_output_count(m.plan); i++) {
            assert_int_equal(tn_plan_output(m.plan, i, &info, &err), TN_OK);
            assert_int_equal(tn_context_output(m.context, i, &got, &err), TN_OK);
            tell(&golden, info.name, &got, run);
        }
    }
    for (uint32_t i = 0; i < tn_reference_input_count(ref); i++)
        in[i] = *golden_tensor(&golden, tn_reference_input_name(ref, i), 0);
    assert_int_equal(tn_reference_run(ref, in, out, tell_module, &golden, &err), TN_OK);
    for (uint32_t i = 0; i < tn_reference_output_count(ref); i++)
        tn_build_free(&o, out[i].data);
    tn_reference_close(&ref);
    close_model(&m);
    tn_npz_free(NULL, &golden);
}

/* ---- the optimised graph ---- */

typedef struct Text {
    char *p;
    size_t n;
} Text;

static void append(void *ctx, const char *text, size_t n) {
    Text *t = ctx;
    t->p = realloc(t->p, t->n + n + 1);
    memcpy(t->p + t->n, text, n);
    t->n += n;
    t->p[t->n] = '\0';
}

static Text graph_of(const char *model, const char *config, const char *head) {
    Text t = {0};
    TnError err = {0};
    TnBuildOptions o = options_of(config, head);
    if (tn_inspect_model(model, &o, NULL, append, &t, &err) != TN_OK)
        fail_msg("%s: %s", model, err.message);
    return t;
}

static uint32_t count(const Text *t, const char *what) {
    uint32_t n = 0;
    for (const char *p = t->p; (p = strstr(p, what)) != NULL; p += strlen(what))
        n++;
    return n;
}

static void the_plan_is_that_of_onnx(void **state) {
    (void)state;
    static const char *const fused[] = {" = attention(", " = layer_norm(", " = add_layer_norm(", " = gemm(",
                                        "act=gelu",      " = matmul(",     " = softmax("};
    Text onnx = graph_of(FIXTURES "vilbert_ts17_dynamic_sizes/model.onnx", NULL, NULL);
    Text native = graph_of(DATA "vilbert.bin", DATA "vilbert.json", NULL);
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++) {
        if (count(&native, fused[i]) != count(&onnx, fused[i]))
            fail_msg("'%s': %u in the native graph, %u in that of ONNX", fused[i], count(&native, fused[i]), count(&onnx, fused[i]));
    }
    assert_int_equal(count(&native, fused[0]), 7);
    assert_true(count(&native, "\n  %") <= count(&onnx, "\n  %"));
    free(onnx.p);
    free(native.p);
}

/* vision_logit needs neither the last text layer nor the text half of the last connection nor the poolers; of linguisic_logit the mirror
 * image. */
static void what_no_head_needs_leaves(void **state) {
    (void)state;
    static const struct {
        const char *head, *gone[5], *there;
    } rows[] = {
        {NULL,
         {"layer.2.", "c_layer.1.biOutput.LayerNorm2", "c_layer.1.biattention.query2", "c_layer.1.biattention.value1", "pooler"},
         "c_layer.1.biOutput.LayerNorm1"},
        {"linguisic_logit",
         {"v_layer.1.", "c_layer.1.biOutput.LayerNorm1", "c_layer.1.biattention.query1", "c_layer.1.biattention.value2", "pooler"},
         "c_layer.1.biOutput.LayerNorm2"},
        {"vil_logit", {"q_dense", "cls.", "vil_prediction", "gqa", "linguisic"}, "t_pooler"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Text t = graph_of(DATA "vilbert.bin", DATA "vilbert.json", rows[r].head);
        for (size_t i = 0; i < 5; i++) {
            char node[96];
            snprintf(node, sizeof node, "%s%s", strncmp(rows[r].gone[i], "layer", 5) == 0 ? "encoder." : "", rows[r].gone[i]);
            if (strstr(t.p, node) != NULL)
                fail_msg("head %zu: '%s' is still there", r, node);
        }
        assert_non_null(strstr(t.p, rows[r].there));
        assert_int_equal(count(&t, "\n  output %"), 1);
        free(t.p);
    }
}

/* ---- folders, options, and what does not fit ---- */

static void shell(const char *fmt, ...) {
    char command[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    assert_int_equal(system(command), 0);
}

static void a_folder_is_the_same_model(void **state) {
    (void)state;
    char dir[64] = "/tmp/tn-vilbert-XXXXXX";
    TnNpz golden;
    Open m;
    TnTensor got;
    TnError err = {0};
    size_t n = 0;
    assert_non_null(mkdtemp(dir));
    shell("cp " DATA "vilbert.bin %s/pytorch_model.bin && cp " DATA
          "vilbert.json %s/config.json && printf '[PAD]\\n[UNK]\\n' > %s/vocab.txt",
          dir, dir, dir);
    golden_open("vilbert", &golden);
    TnBuildOptions o = options_of(NULL, NULL);
    if (open_model(dir, &o, &m, &err) != TN_OK || run_on(&m, &golden, 1, &err) != TN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(tn_plan_output_count(m.plan), 1);
    assert_int_equal(tn_context_output(m.context, 0, &got, &err), TN_OK);
    assert_true(off_by(&got, golden_tensor(&golden, "vision_logit", 1)) <= TOLERANCE);
    assert_non_null(tn_plan_meta(m.plan, "config.json", &n));
    assert_non_null(tn_plan_meta(m.plan, "vocab.txt", &n));
    assert_int_equal(n, 12);
    close_model(&m);
    o = options_of(DATA "vilbert.json", NULL);
    assert_int_equal(open_model(dir, &o, &m, &err), TN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "config"));
    o = options_of(DATA "vilbert.json", NULL); /* of a file, the plan carries its configuration too */
    assert_int_equal(open_model(DATA "vilbert.bin", &o, &m, &err), TN_OK);
    assert_non_null(tn_plan_meta(m.plan, "config.json", &n));
    close_model(&m);
    shell("rm -r %s", dir);
    tn_npz_free(NULL, &golden);
}

/* A configuration with `from` replaced by `to` (sed); "": as it is. */
static void fit(const char *name, const char *from, const char *to, const char *head, TnStatus want, const char *words[3]) {
    char config[64] = "/tmp/tn-vilbert-XXXXXX", model[512];
    TnError err = {0};
    Open m;
    int fd = mkstemp(config);
    assert_true(fd >= 0);
    fclose(fdopen(fd, "w"));
    shell("tr -d '\\n' < " DATA "%s.json | sed 's/  */ /g; s/%s/%s/' > %s", name, from, to, config);
    snprintf(model, sizeof model, DATA "%s.bin", name);
    TnBuildOptions o = options_of(config, head);
    TnStatus st = open_model(model, &o, &m, &err);
    for (size_t i = 0; i < 3; i++) {
        if (st != want || strstr(err.message, words[i]) == NULL)
            fail_msg("%s: %s -> %s, head %s: %s: '%s', expected '%s'", name, from, to, head, tn_status_name(st), err.message, words[i]);
    }
    close_model(&m);
    remove(config);
}

static void configurations_that_do_not_fit_are_named(void **state) {
    (void)state;
    static struct {
        const char *from, *to;
        TnStatus st;
        const char *words[3];
    } rows[] = {
        {"\"vocab_size\": 60,", "", TN_ERR_PARSE, {"vocab_size", "missing", ""}},
        {"\"vocab_size\": 60", "\"vocab_size\": 61", TN_ERR_DATA, {"word_embeddings.weight is", "[60,16]", "[61,16]"}},
        {"\"num_hidden_layers\": 3",
         "\"num_hidden_layers\": 4",
         TN_ERR_DATA,
         {"bert.encoder.layer.3.output.dense", "is missing", "layer.3.attention"}},
        {"\"v_num_hidden_layers\": 2", "\"v_num_hidden_layers\": 3", TN_ERR_DATA, {"bert.encoder.v_layer.2.", "is missing", ""}},
        {"\"v_intermediate_size\": 28",
         "\"v_intermediate_size\": 27",
         TN_ERR_DATA,
         {"v_layer.0.intermediate.dense.weight", "[28,24]", "[27,24]"}},
        {"\"v_biattention_id\": \\[ 0, 1 \\], \"t_biattention_id\": \\[ 1, 2 \\]",
         "\"v_biattention_id\": [1], \"t_biattention_id\": [2]",
         TN_ERR_DATA,
         {"bert.encoder.c_layer.1.", "is not used", "c_layer.1.biattention"}},
        {"\"hidden_size\": 16", "\"hidden_size\": 15", TN_ERR_PARSE, {"hidden_size", "num_attention_heads", "15"}},
        {"\"v_num_attention_heads\": 3", "\"v_num_attention_heads\": 5", TN_ERR_PARSE, {"v_num_attention_heads", "24", "5"}},
        {"\"bi_num_attention_heads\": 2", "\"bi_num_attention_heads\": 5", TN_ERR_PARSE, {"bi_num_attention_heads", "24", "5"}},
        {"\\[ 0, 1 \\]", "[0, 2]", TN_ERR_PARSE, {"v_biattention_id", "from 0 to 1", ""}},
        {"\\[ 0, 1 \\]", "[1, 0]", TN_ERR_UNSUPPORTED, {"v_biattention_id", "falls", ""}},
        {"\\[ 0, 1 \\]", "[0, 1, 1]", TN_ERR_PARSE, {"v_biattention_id", "t_biattention_id", "pairs"}},
        {"\\[ 0, 1 \\]", "[]", TN_ERR_PARSE, {"v_biattention_id", "list", ""}},
        {"\"v_biattention_id\": \\[ 0, 1 \\], \"t_biattention_id\": \\[ 1, 2 \\],", "", TN_ERR_PARSE, {"v_biattention_id", "missing", ""}},
        {"\"mul\"", "\"max\"", TN_ERR_UNSUPPORTED, {"fusion_method", "max", "sum"}},
        {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"snake\"", TN_ERR_UNSUPPORTED, {"hidden_act", "snake", ""}},
        {"\"fusion_method\"", "\"model\": \"albert\", \"fusion_method\"", TN_ERR_UNSUPPORTED, {"'model'", "albert", "roberta"}},
        {"\"fusion_method\"", "\"with_coattention\": false, \"fusion_method\"", TN_ERR_UNSUPPORTED, {"with_coattention", "only true", ""}},
        {"\"fusion_method\"",
         "\"dynamic_attention\": true, \"fusion_method\"",
         TN_ERR_UNSUPPORTED,
         {"dynamic_attention", "only false", ""}},
        {"\"fusion_method\"", "\"visualization\": true, \"fusion_method\"", TN_ERR_UNSUPPORTED, {"visualization", "only false", ""}},
        {"\"fusion_method\"", "\"in_batch_pairs\": true, \"fusion_method\"", TN_ERR_UNSUPPORTED, {"in_batch_pairs", "only false", ""}},
        {"\"fusion_method\"", "\"fast_mode\": true, \"fusion_method\"", TN_OK, {"", "", ""}}, /* one phrase a picture: nothing to spread */
        {"\"fusion_method\"",
         "\"task_specific_tokens\": true, \"fusion_method\"",
         TN_ERR_DATA,
         {"task_embeddings.weight is missing", "", ""}},
        {"\"hidden_size\": 16", "\"hidden_size\": \"wide\"", TN_ERR_PARSE, {"hidden_size", "whole number", ""}},
        {"^{", "", TN_ERR_PARSE, {"", "", ""}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fit("vilbert", rows[i].from, rows[i].to, NULL, rows[i].st, rows[i].words);
    const char *none[] = {"", "", ""}, *both[] = {"task_specific_tokens", "roberta", ""};
    fit("vilbert_task", "\"fusion_method\"", "\"task_specific_tokens\": false, \"fusion_method\"", NULL, TN_OK, none);
    fit("vilbert_task", "\"fusion_method\"", "\"model\": \"roberta\", \"fusion_method\"", NULL, TN_ERR_UNSUPPORTED, both);
}

static void options_that_do_not_fit_are_named(void **state) {
    (void)state;
    static const struct {
        const char *model, *config, *head;
        uint32_t head_dim;
        TnStatus st;
        const char *says[2];
    } rows[] = {
        {DATA "vilbert.bin", NULL, NULL, 0, TN_ERR_REQUEST, {"--config FILE", "bert_base_6layer_6conect.json"}},
        {DATA "vilbert.bin", "/nonexistent.json", NULL, 0, TN_ERR_IO, {"/nonexistent.json", ""}},
        {DATA "vilbert.bin", DATA "vilbert.bin", NULL, 0, TN_ERR_PARSE, {"vilbert.bin", ""}},
        {DATA "vilbert.bin", DATA "vilbert.json", NULL, 64, TN_ERR_REQUEST, {"--head-dim", "ViLBERT"}},
        {DATA "vilbert.bin",
         DATA "vilbert.json",
         "vil_vision",
         0,
         TN_ERR_REQUEST,
         {"'vil_vision'", "linguisic_logit, seq_relationship_score"}},
        {DATA "vilbert.bin", DATA "vilbert.json", "vil_logit,", 0, TN_ERR_REQUEST, {"no head ''", "vision_logit"}},
        {DATA "vilbert.bin", DATA "vilbert.json", "vil_logit,vil_logit", 0, TN_ERR_REQUEST, {"twice", "vil_logit"}},
        {DATA "vilbert_beta.bin",
         DATA "vilbert_beta.json",
         "vil_prediction_gqa",
         0,
         TN_ERR_REQUEST,
         {"no head 'vil_prediction_gqa'", "vil_logit"}},
        {DATA "vilbert_beta.bin", DATA "vilbert.json", NULL, 0, TN_OK, {"", ""}},
        {DATA "vilbert_odd.bin", DATA "vilbert.json", NULL, 0, TN_ERR_DATA, {"token_type_embeddings.weight is", "expected [2,16]"}},
        {DATA "uniformer.pth", DATA "vilbert.json", NULL, 8, TN_ERR_REQUEST, {"--config", "ViLBERT"}},
        {DATA "uniformer.pth", NULL, "logits", 8, TN_ERR_REQUEST, {"--head", "ViLBERT"}},
        {FIXTURES "hf_layoutlmv3_tokens", NULL, "logits", 0, TN_ERR_REQUEST, {"--head", "ViLBERT"}},
        {FIXTURES "vilbert_ts11_static/model.onnx", NULL, "vision_logit", 0, TN_ERR_ARGUMENT, {"head", "exported"}},
        {FIXTURES "vilbert_ts11_static/model.onnx", DATA "vilbert.json", NULL, 0, TN_ERR_ARGUMENT, {"config", "files of weights"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Open m;
        TnError err = {0};
        TnBuildOptions o = options_of(rows[i].config, rows[i].head);
        o.head_dim = rows[i].head_dim;
        TnStatus st = open_model(rows[i].model, &o, &m, &err);
        for (size_t k = 0; k < 2; k++) {
            if (st != rows[i].st || strstr(err.message, rows[i].says[k]) == NULL)
                fail_msg("row %zu: %s: %s", i, tn_status_name(st), err.message);
        }
        close_model(&m);
    }
}

/* vil_binary_prediction of multi-task takes pairs of pictures. */
static void pairs_need_an_even_batch(void **state) {
    (void)state;
    TnNpz golden;
    Open m;
    TnIoInfo info;
    TnError err = {0};
    golden_open("vilbert", &golden);
    TnBuildOptions o = options_of(DATA "vilbert.json", "vil_binary_prediction");
    assert_int_equal(open_model(DATA "vilbert.bin", &o, &m, &err), TN_OK);
    for (uint32_t i = 0; i < tn_plan_input_count(m.plan); i++) {
        assert_int_equal(tn_plan_input(m.plan, i, &info, &err), TN_OK);
        TnTensor t = *golden_tensor(&golden, info.name, 0);
        t.dims[0] = 3;
        assert_int_equal(tn_context_set_input(m.context, i, &t, &err), TN_OK);
    }
    assert_int_equal(tn_context_run(m.context, &err), TN_ERR_SHAPE);
    assert_non_null(strstr(err.message, "'pairs'"));
    assert_non_null(strstr(err.message, "multiple"));
    close_model(&m);
    tn_npz_free(NULL, &golden);
}

typedef struct Faulty {
    size_t count, at, live;
} Faulty;

static void *faulty_alloc(void *ctx, size_t size, size_t align) {
    Faulty *f = ctx;
    void *p = NULL;
    if (++f->count == f->at || posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size) != 0)
        return NULL;
    f->live++;
    return p;
}

static void faulty_free(void *ctx, void *p) {
    ((Faulty *)ctx)->live--;
    free(p);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    const HfFileOptions options = {.config = DATA "vilbert_odd.json", .head = ALL_HEADS};
    for (size_t at = 1;; at++) {
        Faulty f = {.at = at};
        TnAllocator a = {faulty_alloc, faulty_free, &f};
        IrModule *m;
        TnError err = {0};
        uint64_t hash;
        TnStatus st = tni_hf_import_file(DATA "vilbert_odd.bin", &options, NULL, &a, &m, &hash, &err);
        if (st == TN_OK) {
            tni_ir_module_destroy(&m);
            assert_int_equal(f.live, 0);
            assert_true(at > 3);
            return;
        }
        assert_int_equal(st, TN_ERR_MEMORY);
        assert_int_equal(f.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_agree_with_pytorch),
        cmocka_unit_test(modules_agree_with_pytorch),
        cmocka_unit_test(a_network_of_full_size_agrees),
        cmocka_unit_test(the_plan_is_that_of_onnx),
        cmocka_unit_test(what_no_head_needs_leaves),
        cmocka_unit_test(a_folder_is_the_same_model),
        cmocka_unit_test(configurations_that_do_not_fit_are_named),
        cmocka_unit_test(options_that_do_not_fit_are_named),
        cmocka_unit_test(pairs_need_an_even_batch),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
