/* SPDX-License-Identifier: Apache-2.0
 *
 * What an architecture's importer gets, and their list. To add one: a file, a line here, a row in hf.c. */
#ifndef TENON_HF_ARCHITECTURE_H
#define TENON_HF_ARCHITECTURE_H

#include "hf/emit.h"
#include "hf/hf.h"
#include "hf/json.h"

typedef struct HfImport {
    const char *dir; /* NULL: the checkpoint is a file */
    HfConfig config; /* config.json, or what a file was given with; object NULL: none */
    HfFileOptions options; /* of a file, or what a UniFormer's config.json says */
    const TnLog *log;
    IrModule *module; /* empty but for carried files */
    HfCheckpoint *checkpoint;
} HfImport;

typedef TnStatus (*HfArchitectureFn)(const HfImport *in, TnError *err);

/* VisionEncoderDecoderModel with a ViT or DeiT encoder and a TrOCR decoder. */
TnStatus tni_hf_vision_encoder_decoder(const HfImport *in, TnError *err);
/* LayoutLMv3Model and its heads: tokens, sequence, question answering. */
TnStatus tni_hf_layoutlmv3(const HfImport *in, TnError *err);

/* Official checkpoints of UniFormer for classification: a file; its tensors tell what it is. */
bool tni_hf_is_uniformer(HfCheckpoint *c);
TnStatus tni_hf_uniformer(const HfImport *in, TnError *err);

/* Official checkpoints of ViLBERT; their config.json says nothing about the architecture, their tensors do. */
bool tni_hf_is_vilbert(HfCheckpoint *c);
TnStatus tni_hf_vilbert(const HfImport *in, TnError *err);
/* Detectors with that backbone: Mask R-CNN and Cascade Mask R-CNN. */
bool tni_hf_is_detector(HfCheckpoint *c);
TnStatus tni_hf_detector(const HfImport *in, TnError *err);

#endif
