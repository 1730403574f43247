/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints to an IrModule: a folder of Hugging Face's (config.json and weights), or a file of weights that official code saved. */
#ifndef TENON_HF_HF_H
#define TENON_HF_HF_H

#include "ir/graph.h"

/* What a checkpoint does not tell; 0 and NULL: the architecture's default, or an error that asks. */
typedef struct HfFileOptions {
    uint32_t head_dim, image_size; /* of a file */
    const char *config;            /* of a file: its JSON configuration (ViLBERT) */
    const char *head;              /* "NAME,NAME": the outputs wanted, of checkpoints with several heads (ViLBERT) */
    const char *attention;         /* of a file: "global", "window" or "hybrid" (detectors) */
    float score_threshold;         /* of a file: answers need more than this (detectors) */
} HfFileOptions;

/* Dispatches on config.json's model_type / architectures through a table (one row an architecture). Weights stay mapped; f16 and bf16
 * weights are widened at build. Errors: PARSE, UNSUPPORTED (names the field and the values there are), DATA (missing, unexpected or
 * misshapen tensors: all of them in one message), PATH, REQUEST (an option that the architecture has not). options: NULL or what was asked. */
TnStatus tni_hf_import(const char *dir, const HfFileOptions *options, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash,
                       TnError *err);

/* true when a file begins as a checkpoint's file does (PyTorch or safetensors), which no ONNX model does. */
bool tni_hf_is_checkpoint_file(const char *path);
/* A file of tensors whose names tell the architecture (one row each, as above): official UniFormer classification models; ViLBERT, with its
 * configuration. Errors as above, and REQUEST: the tensors do not settle an option. */
TnStatus tni_hf_import_file(const char *path, const HfFileOptions *options, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash,
                            TnError *err);

#endif
