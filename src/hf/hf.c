/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint's folder or file to a module: one row an architecture. */
#include "hf/hf.h"

#include <stdio.h>
#include <unistd.h>

#include "hf/architecture.h"
#include "hf/torch.h"

static TnStatus uniformer_folder(const HfImport *in, TnError *err);

static const struct {
    const char *model_type; /* config.json */
    HfArchitectureFn import;
} architectures[] = {
    {"vision-encoder-decoder", tni_hf_vision_encoder_decoder},
    {"layoutlmv3", tni_hf_layoutlmv3},
    {"uniformer", uniformer_folder},
};

/* Checkpoints whose tensors' names tell: files of weights, and folders whose config.json has no model_type. */
static const struct {
    const char *name;
    bool (*is)(HfCheckpoint *c);
    HfArchitectureFn import;
    bool configured; /* the numbers come from a JSON configuration; there are heads to choose from */
} file_architectures[] = {
    {"UniFormer (classification)", tni_hf_is_uniformer, tni_hf_uniformer, false},
    {"ViLBERT", tni_hf_is_vilbert, tni_hf_vilbert, true},
    {"UniFormer (detection: Mask R-CNN, Cascade Mask R-CNN)", tni_hf_is_detector, tni_hf_detector, false},
};

/* Files that a plan carries as they are, so that it runs without the folder. */
static const char *const carried[] = {"preprocessor_config.json", "generation_config.json", "config.json", "vocab.json", "tokenizer.json"};

/* As they are: merges.txt belongs to vocab.json, vocab.txt is WordPiece's or a list of characters, sentencepiece.bpe.model is TrOCR-small's. */
static TnStatus carry_text(IrModule *m, const char *dir, const char *name, TnError *err) {
    char path[4096];
    TnFileMap map;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path || access(path, R_OK) != 0)
        return TN_OK;
    TN_TRY(tni_file_map(path, &map, err));
    TnStatus st = tni_ir_meta_set(m, name, map.data, map.n, err);
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
    TN_TRY(carry_text(m, dir, "merges.txt", err));
    TN_TRY(carry_text(m, dir, "vocab.txt", err));
    TN_TRY(carry_text(m, dir, "sentencepiece.bpe.model", err));
    return carry_text(m, dir, "tokenizer_config.json", err); /* may hold numbers beyond 64 bits, which our JSON reader refuses */
}

static TnStatus no_option(const char *path, const char *option, TnError *err) {
    return TN_RAISE(err, TN_ERR_REQUEST, "'%s': --%s (build option %s) is for ViLBERT", path, option, option);
}

/* By model_type, or of a config.json that is silent by the tensors. */
static HfArchitectureFn find_architecture(HfCheckpoint *c, const char *type, bool *has_heads) {
    for (size_t i = 0; i < TN_COUNT(architectures); i++) {
        if (type != NULL && strcmp(type, architectures[i].model_type) == 0)
            return architectures[i].import;
    }
    for (size_t i = 0; i < TN_COUNT(file_architectures); i++) {
        if (file_architectures[i].configured && (type == NULL || strcmp(type, "vilbert") == 0) && file_architectures[i].is(c)) {
            *has_heads = true;
            return file_architectures[i].import;
        }
    }
    return NULL;
}

/* Tensors named as the official files', whose config.json says what those leave open, in the words of the command's options. */
static TnStatus uniformer_folder(const HfImport *in, TnError *err) {
    HfImport folder = *in;
    HfFileOptions *o = &folder.options;
    TN_TRY(tni_hf_get_u32(in->config, "head_dim", 1, 4096, &o->head_dim, err));
    TN_TRY(tni_hf_get_u32(in->config, "image_size", 1, 65536, &o->image_size, err));
    TN_TRY(tni_hf_get_string(in->config, "attention", &o->attention, err));
    TN_TRY(tni_hf_get_f32(in->config, "score_threshold", &o->score_threshold, err));
    for (size_t i = 0; i < TN_COUNT(file_architectures); i++) {
        if (!file_architectures[i].configured && file_architectures[i].is(in->checkpoint))
            return file_architectures[i].import(&folder, err);
    }
    return TN_RAISE(err, TN_ERR_DATA, "'%s': config.json says model_type 'uniformer', but its weights are of no UniFormer: the first tensor is '%s'", in->dir,
                    in->checkpoint->n_tensors == 0 ? "" : in->checkpoint->tensors[0].name);
}

static TnStatus import(const HfImport *in, TnError *err) {
    const char *type = NULL;
    bool has_heads = false;
    TN_TRY(tni_hf_get_string(in->config, "model_type", &type, err));
    HfArchitectureFn fn = find_architecture(in->checkpoint, type, &has_heads);
    if (fn != NULL && in->options.head != NULL && !has_heads)
        return no_option(in->dir, "head", err);
    if (fn != NULL) {
        TN_TRY(carry_files(in->module, in->dir, err));
        return fn(in, err);
    }
    char supported[256] = "";
    for (size_t i = 0; i < TN_COUNT(architectures); i++)
        snprintf(supported + strlen(supported), sizeof supported - strlen(supported), "%s%s", i == 0 ? "" : ", ", architectures[i].model_type);
    return TN_RAISE(err, TN_ERR_UNSUPPORTED, "config.json: model_type '%s' is not supported; there are: %s; and ViLBERT's, without one", type == NULL ? "(missing)" : type,
                    supported);
}

static void release_checkpoint(void *keep) {
    HfCheckpoint *c = keep;
    tni_hf_checkpoint_close(&c);
}

/* What was asked for is part of what a plan is of. */
static uint64_t hash_options(const HfFileOptions *o, uint64_t hash) {
    hash = tni_hash(&o->head_dim, sizeof o->head_dim, tni_hash(&o->image_size, sizeof o->image_size, hash));
    hash = tni_hash(&o->score_threshold, sizeof o->score_threshold, hash);
    hash = o->attention == NULL ? hash : tni_hash(o->attention, strlen(o->attention), hash);
    return o->head == NULL ? hash : tni_hash(o->head, strlen(o->head), hash);
}

TnStatus tni_hf_import(const char *dir, const HfFileOptions *options, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash,
                       TnError *err) {
    json_t *json;
    TnFileMap text;
    HfCheckpoint *c = NULL;
    *out = NULL;
    TN_TRY(tni_hf_json_file(dir, "config.json", true, &json, &text, err));
    TnStatus st = tni_hf_checkpoint_open(dir, a, &c, err);
    if (st == TN_OK)
        st = tni_ir_module_create(a, out, err);
    if (st == TN_OK) {
        HfImport in = {.dir = dir, .config = {json, "config.json"}, .log = log, .module = *out, .checkpoint = c};
        if (options != NULL)
            in.options = *options;
        *model_hash = hash_options(&in.options, tni_hash(text.data, text.n, c->hash));
        (*out)->keep = c;
        (*out)->keep_release = release_checkpoint;
        st = import(&in, err);
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

/* Options that an architecture has not, and a configuration that it needs. */
static TnStatus check_options(const HfImport *in, const char *path, const char *architecture, bool configured, TnError *err) {
    const HfFileOptions *o = &in->options;
    if (!configured && (o->config != NULL || o->head != NULL))
        return no_option(path, o->config != NULL ? "config" : "head", err);
    if (configured && in->config.object == NULL)
        return TN_RAISE(err, TN_ERR_REQUEST,
                        "'%s': %s needs its configuration: --config FILE (build option config), as bert_base_6layer_6conect.json of the authors; or a "
                        "folder with it as config.json and the weights as pytorch_model.bin",
                        path, architecture);
    if (configured && (o->head_dim != 0 || o->image_size != 0 || o->attention != NULL || o->score_threshold != 0))
        return TN_RAISE(err, TN_ERR_REQUEST,
                        "'%s': the configuration of %s tells all widths; leave out --head-dim, --image-size, --attention and the score threshold", path,
                        architecture);
    return TN_OK;
}

static TnStatus import_tensors(const HfImport *in, const char *path, TnError *err) {
    char known[256] = "";
    for (size_t i = 0; i < TN_COUNT(file_architectures); i++) {
        if (file_architectures[i].is(in->checkpoint)) {
            TN_TRY(check_options(in, path, file_architectures[i].name, file_architectures[i].configured, err));
            return file_architectures[i].import(in, err);
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i == 0 ? "" : ", ", file_architectures[i].name);
    }
    return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                    "'%s': %u tensors, the first is '%s': of no architecture that is known by its tensors; there are: %s. A Hugging Face checkpoint is "
                    "given as its folder",
                    path, in->checkpoint->n_tensors, in->checkpoint->n_tensors == 0 ? "" : in->checkpoint->tensors[0].name, known);
}

/* The configuration that a file was given with; the plan carries it under the name that it has in folders. */
static TnStatus read_config(HfImport *in, uint64_t *hash, TnError *err) {
    TnFileMap text;
    const char *path = in->options.config;
    TN_TRY(tni_file_map(path, &text, err));
    TnStatus st = tni_hf_json_parse((TnSpan){text.data, text.n, 0}, path, &in->config.object, err);
    if (st == TN_OK)
        st = tni_ir_meta_set(in->module, "config.json", text.data, text.n, err);
    *hash = tni_hash(text.data, text.n, *hash);
    in->config.where = path;
    tni_file_unmap(&text);
    return st;
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
    *model_hash = hash_options(options, c->hash);
    (*out)->keep = c;
    (*out)->keep_release = release_checkpoint;
    HfImport in = {.options = *options, .log = log, .module = *out, .checkpoint = c};
    if (options->config != NULL)
        st = read_config(&in, model_hash, err);
    if (st == TN_OK)
        st = import_tensors(&in, path, err);
    json_decref(in.config.object);
    if (st != TN_OK)
        tni_ir_module_destroy(out);
    return st;
}
