/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint's folder or file to a module: one row an architecture. */
#include "hf/hf.h"

#include <stdio.h>
#include <unistd.h>

#include "hf/architecture.h"
#include "hf/torch.h"

static const struct {
    const char *model_type; /* config.json */
    HfArchitectureFn import;
} architectures[] = {
    {"vision-encoder-decoder", tni_hf_vision_encoder_decoder},
    {"layoutlmv3", tni_hf_layoutlmv3},
};

/* Files of weights without a configuration: their tensors' names tell. */
static const struct {
    const char *name;
    bool (*is)(HfCheckpoint *c);
    HfArchitectureFn import;
} file_architectures[] = {
    {"UniFormer (classification)", tni_hf_is_uniformer, tni_hf_uniformer},
};

/* Files that a plan carries as they are, so that it runs without the folder. */
static const char *const carried[] = {"preprocessor_config.json", "generation_config.json", "config.json", "vocab.json", "tokenizer.json"};

/* merges.txt belongs to vocab.json and is plain text. */
static TnStatus carry_merges(IrModule *m, const char *dir, TnError *err) {
    char path[4096];
    TnFileMap map;
    if (snprintf(path, sizeof path, "%s/merges.txt", dir) >= (int)sizeof path || access(path, R_OK) != 0)
        return TN_OK;
    TN_TRY(tni_file_map(path, &map, err));
    TnStatus st = tni_ir_meta_set(m, "merges.txt", map.data, map.n, err);
    tni_file_unmap(&map);
    return st;
}

static TnStatus carry_files(IrModule *m, const char *dir, TnError *err) {
    for (size_t i = 0; i < TN_COUNT(carried); i++) {
        json_t *json;
        TnFileMap map;
        TN_TRY(tni_hf_json_file(dir, carried[i], false, &json, &map, err));
        if (json == NULL)
            continue;
        json_decref(json);
        TnStatus st = tni_ir_meta_set(m, carried[i], map.data, map.n, err);
        tni_file_unmap(&map);
        TN_TRY(st);
    }
    return carry_merges(m, dir, err);
}

static TnStatus import(const char *dir, HfConfig config, const TnLog *log, IrModule *m, HfCheckpoint *c, TnError *err) {
    const char *type = NULL;
    TN_TRY(tni_hf_get_string(config, "model_type", &type, err));
    for (size_t i = 0; type != NULL && i < TN_COUNT(architectures); i++) {
        if (strcmp(type, architectures[i].model_type) == 0) {
            TN_TRY(carry_files(m, dir, err));
            return architectures[i].import(&(HfImport){.dir = dir, .config = config, .log = log, .module = m, .checkpoint = c}, err);
        }
    }
    char supported[256] = "";
    for (size_t i = 0; i < TN_COUNT(architectures); i++)
        snprintf(supported + strlen(supported), sizeof supported - strlen(supported), "%s%s", i == 0 ? "" : ", ", architectures[i].model_type);
    return TN_RAISE(err, TN_ERR_UNSUPPORTED, "config.json: model_type '%s' is not supported; there are: %s", type == NULL ? "(missing)" : type,
                    supported);
}

static void release_checkpoint(void *keep) {
    HfCheckpoint *c = keep;
    tni_hf_checkpoint_close(&c);
}

TnStatus tni_hf_import(const char *dir, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash, TnError *err) {
    json_t *json;
    TnFileMap text;
    HfCheckpoint *c = NULL;
    *out = NULL;
    TN_TRY(tni_hf_json_file(dir, "config.json", true, &json, &text, err));
    TnStatus st = tni_hf_checkpoint_open(dir, a, &c, err);
    if (st == TN_OK)
        st = tni_ir_module_create(a, out, err);
    if (st == TN_OK) {
        *model_hash = tni_hash(text.data, text.n, c->hash);
        (*out)->keep = c;
        (*out)->keep_release = release_checkpoint;
        st = import(dir, (HfConfig){json, "config.json"}, log, *out, c, err);
        if (st != TN_OK)
            tni_ir_module_destroy(out);
    } else {
        tni_hf_checkpoint_close(&c);
    }
    json_decref(json);
    tni_file_unmap(&text);
    return st;
}

bool tni_hf_is_checkpoint_file(const char *path) {
    uint8_t head[512] = {0};
    size_t len = strlen(path);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    /* safetensors: the length of a header that begins with a brace. */
    return tni_hf_is_torch((TnSpan){head, n, 0}) || (n > 8 && head[8] == '{' && head[5] == 0 && head[6] == 0 && head[7] == 0) ||
           (len > 12 && strcmp(path + len - 12, ".safetensors") == 0);
}

static TnStatus import_tensors(const HfImport *in, const char *path, TnError *err) {
    for (size_t i = 0; i < TN_COUNT(file_architectures); i++) {
        if (file_architectures[i].is(in->checkpoint))
            return file_architectures[i].import(in, err);
    }
    return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                    "'%s': %u tensors, the first is '%s': of no architecture that is known by its tensors; there is: %s. A Hugging Face checkpoint is "
                    "given as its folder",
                    path, in->checkpoint->n_tensors, in->checkpoint->n_tensors == 0 ? "" : in->checkpoint->tensors[0].name, file_architectures[0].name);
}

TnStatus tni_hf_import_file(const char *path, const HfFileOptions *options, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash,
                            TnError *err) {
    HfCheckpoint *c = NULL;
    *out = NULL;
    TN_TRY(tni_hf_checkpoint_open_file(path, a, &c, err));
    TnStatus st = tni_ir_module_create(a, out, err);
    if (st != TN_OK) {
        tni_hf_checkpoint_close(&c);
        return st;
    }
    *model_hash = tni_hash(options, sizeof *options, c->hash);
    (*out)->keep = c;
    (*out)->keep_release = release_checkpoint;
    HfImport in = {.options = *options, .log = log, .module = *out, .checkpoint = c};
    st = import_tensors(&in, path, err);
    if (st != TN_OK)
        tni_ir_module_destroy(out);
    return st;
}
