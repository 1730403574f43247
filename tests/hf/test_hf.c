/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint reading: good ones verify, bad ones give the right error with the right words, allocation failures leak nothing. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf/hf.h"
#include "hf/safetensors.h"
#include "read_copy.h"

#define GOOD TN_SOURCE_DIR "/tests/fixtures/hf_trocr_deit_tied_fp32"

static void good_checkpoints_verify(void **state) {
    (void)state;
    static const char *const dirs[] = {GOOD, TN_SOURCE_DIR "/tests/fixtures/hf_trocr_deit_untied_bf16",
                                       TN_SOURCE_DIR "/tests/fixtures/hf_trocr_vit_same_width_fp32",
                                       TN_SOURCE_DIR "/tests/fixtures/hf_trocr_vit_sinusoidal_fp16", TN_SOURCE_DIR "/models/trocr-tiny-zh"};
    for (size_t i = 0; i < TN_COUNT(dirs); i++) {
        IrModule *m;
        TnError err = {0};
        uint64_t hash;
        if (tni_hf_import(dirs[i], NULL, NULL, NULL, &m, &hash, &err) != TN_OK || tni_ir_verify(m, &err) != TN_OK)
            fail_msg("%s: %s", dirs[i], err.message);
        assert_int_equal(m->n_graphs, 2);
        tni_ir_module_destroy(&m);
    }
}

/* A copy of GOOD's config in a fresh folder, with `from` replaced by `to`, and its weights. */
static void make_variant(char dir[64], const char *from, const char *to) {
    static char text[65536];
    char path[512], command[1200];
    snprintf(dir, 64, "/tmp/tn-hf-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(command, sizeof command, "cp %s/*.json %s/model.safetensors %s/", GOOD, GOOD, dir);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "r");
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    char *at = strstr(text, from);
    assert_non_null(at);
    f = fopen(path, "w");
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    fclose(f);
}

static void remove_folder(const char *dir) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void configs_that_do_not_fit_name_the_field(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        TnStatus st;
        const char *says;
    } rows[] = {
        {"\"vision-encoder-decoder\"", "\"bert\"", TN_ERR_UNSUPPORTED, "'bert'"},
        {"\"deit\"", "\"swin\"", TN_ERR_UNSUPPORTED, "'swin'"},
        {"\"hidden_size\": 24", "\"hidden_size\": 48", TN_ERR_PARSE, "cross_attention_hidden_size"},
        {"\"d_model\": 16", "\"d_model\": 18", TN_ERR_DATA, "expected [40,18]"},
        {"\"d_model\": 16", "\"d_model\": \"x\"", TN_ERR_PARSE, "d_model"},
        {"\"decoder_layers\": 2", "\"decoder_layers\": 3", TN_ERR_DATA, "layers.2.self_attn"},
        {"\"activation_function\": \"gelu\"", "\"activation_function\": \"quick\"", TN_ERR_UNSUPPORTED, "'quick'"},
        {"\"num_attention_heads\": 3", "\"num_attention_heads\": 5", TN_ERR_PARSE, "num_attention_heads"},
        {"\"patch_size\": 8", "\"patch_size\": 0", TN_ERR_PARSE, "patch_size"},
        {"{", "{{", TN_ERR_PARSE, "config.json"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        char dir[64];
        IrModule *m;
        TnError err = {0};
        uint64_t hash;
        make_variant(dir, rows[i].from, rows[i].to);
        TnStatus st = tni_hf_import(dir, NULL, NULL, NULL, &m, &hash, &err);
        if (st != rows[i].st || strstr(err.message, rows[i].says) == NULL)
            fail_msg("%s -> %s: status %s: %s", rows[i].from, rows[i].to, tn_status_name(st), err.message);
        assert_null(m);
        remove_folder(dir);
    }
    IrModule *m;
    TnError err = {0};
    uint64_t hash;
    assert_int_equal(tni_hf_import("/nonexistent", NULL, NULL, NULL, &m, &hash, &err), TN_ERR_IO);
}

static void damaged_safetensors_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        TnStatus st;
    } rows[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, TN_OK},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, TN_ERR_DATA},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, TN_ERR_DATA},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, TN_ERR_DATA},
        {"{\"a\":{\"dtype\":\"Q3\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, TN_ERR_UNSUPPORTED},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, TN_ERR_PARSE},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, TN_ERR_PARSE},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, TN_ERR_PARSE},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, TN_ERR_DATA},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8, TN_ERR_DATA},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[8,4]}}", 8, TN_ERR_PARSE},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 8, TN_ERR_PARSE},
        {"{\"a\":7}", 0, TN_ERR_PARSE},
        {"[]", 0, TN_ERR_PARSE},
        {"{\"a\":{},\"a\":{}}", 0, TN_ERR_PARSE},
        {"", 0, TN_ERR_PARSE},
    };
    char buf[512];
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        TnError err = {0};
        uint64_t len = strlen(rows[i].header);
        memset(buf, 0, sizeof buf);
        memcpy(buf, &len, 8);
        memcpy(buf + 8, rows[i].header, (size_t)len);
        TnStatus st = read_copy(tni_hf_safetensors_read, buf, 8 + (size_t)len + rows[i].data, &err);
        if (st != rows[i].st)
            fail_msg("%s with %zu bytes: %s: %s", rows[i].header, rows[i].data, tn_status_name(st), err.message);
        for (size_t cut = 0; st == TN_OK && cut < 8 + (size_t)len + rows[i].data; cut++)
            assert_int_not_equal(read_copy(tni_hf_safetensors_read, buf, cut, &err), TN_OK);
    }
    uint64_t huge = UINT64_MAX;
    TnError err = {0};
    assert_int_equal(read_copy(tni_hf_safetensors_read, &huge, 8, &err), TN_ERR_LIMIT);
}

/* Fails allocation number `at`; counts what is live. */
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
    for (size_t at = 1;; at++) {
        Faulty f = {.at = at};
        TnAllocator a = {faulty_alloc, faulty_free, &f};
        IrModule *m;
        TnError err = {0};
        uint64_t hash;
        TnStatus st = tni_hf_import(GOOD, NULL, NULL, &a, &m, &hash, &err);
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

static TnStatus import_folder(const char *dir) {
    IrModule *m = NULL;
    uint64_t hash;
    TnStatus st = tni_hf_import(dir, NULL, NULL, NULL, &m, &hash, NULL);
    tni_ir_module_destroy(&m);
    return st;
}

/* The hub's cache: every file of a snapshot is a link to a blob elsewhere. A path in an index that leaves the folder is refused. */
static void links_are_followed_paths_stay_inside(void **state) {
    (void)state;
    char dir[64], command[1024];
    make_variant(dir, "{", "{");
    snprintf(command, sizeof command, "ln -sf %s/model.safetensors %s/model.safetensors", GOOD, dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(import_folder(dir), TN_OK);
    snprintf(command, sizeof command, "echo '{\"weight_map\": {\"x\": \"../model.safetensors\"}}' > %s/model.safetensors.index.json", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(import_folder(dir), TN_ERR_PATH);
    remove_folder(dir);
}

/* The same weights from the files that save_pretrained wrote before safetensors: the same module. */
static void pytorch_files_give_the_same_module(void **state) {
    (void)state;
    char dir[64], command[1200];
    IrModule *m[2];
    TnError err = {0};
    uint64_t hash[2];
    make_variant(dir, "{", "{");
    snprintf(command, sizeof command, "rm %s/model.safetensors && cp " TN_SOURCE_DIR "/tests/hf/data/pytorch_model* %s/", dir, dir);
    assert_int_equal(system(command), 0);
    if (tni_hf_import(GOOD, NULL, NULL, NULL, &m[0], &hash[0], &err) != TN_OK || tni_hf_import(dir, NULL, NULL, NULL, &m[1], &hash[1], &err) != TN_OK)
        fail_msg("%s", err.message);
    for (uint32_t i = 0; i < m[0]->n_graphs; i++) {
        const IrGraph *a = m[0]->graphs[i], *b = m[1]->graphs[i];
        assert_int_equal(a->n_values, b->n_values);
        assert_int_equal(a->n_nodes, b->n_nodes);
        for (IrValueId v = 0; v < a->n_values; v++) {
            TnTensor x, y;
            assert_string_equal(a->values[v].name, b->values[v].name);
            if (!tni_ir_tensor(m[0], a, v, &x))
                continue;
            assert_true(tni_ir_tensor(m[1], b, v, &y));
            assert_int_equal(tn_tensor_bytes(&x), tn_tensor_bytes(&y));
            assert_memory_equal(x.data, y.data, tn_tensor_bytes(&x));
        }
    }
    tni_ir_module_destroy(&m[0]);
    tni_ir_module_destroy(&m[1]);
    remove_folder(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_checkpoints_verify),
        cmocka_unit_test(configs_that_do_not_fit_name_the_field),
        cmocka_unit_test(damaged_safetensors_are_refused),
        cmocka_unit_test(links_are_followed_paths_stay_inside),
        cmocka_unit_test(pytorch_files_give_the_same_module),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
