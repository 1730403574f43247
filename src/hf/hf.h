/* SPDX-License-Identifier: Apache-2.0
 *
 * Hugging Face checkpoints: a folder with config.json and safetensors files to an IrModule. */
#ifndef TENON_HF_HF_H
#define TENON_HF_HF_H

#include "ir/graph.h"

/* Dispatches on config.json's model_type / architectures through a table (one row an architecture). Weights stay mapped; f16 and bf16
 * weights are widened at build. Errors: PARSE, UNSUPPORTED (names the field and the values there are), DATA (missing, unexpected or
 * misshapen tensors: all of them in one message), PATH. */
TnStatus tni_hf_import(const char *dir, const TnLog *log, const TnAllocator *a, IrModule **out, uint64_t *model_hash, TnError *err);

#endif
