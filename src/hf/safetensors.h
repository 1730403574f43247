/* SPDX-License-Identifier: Apache-2.0
 *
 * The tensors of a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json lists; where there are none of them
 * pytorch_model.bin or its shards (hf/torch.h). Tensors of safetensors files are views into maps that the checkpoint owns. Their format: 8 bytes
 * little-endian length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data, without holes or overlaps. */
#ifndef TENON_HF_SAFETENSORS_H
#define TENON_HF_SAFETENSORS_H

#include "base/span.h"

typedef struct HfTensor {
    const char *name;
    TnTensor t; /* data points into a map or the arena; may be unaligned */
    bool used;
} HfTensor;

typedef struct HfCheckpoint {
    const TnAllocator *alloc;
    TnArena *arena; /* names and the table */
    TnFileMap *maps;
    uint32_t n_maps;
    HfTensor *tensors; /* sorted by name */
    uint32_t n_tensors, cap_tensors;
    uint64_t hash; /* of all headers and file sizes */
} HfCheckpoint;

/* Opens and checks all files. Errors: PATH, IO, PARSE (with byte offset), DATA (sizes that do not agree), LIMIT (header over 100 MB). */
TnStatus tni_hf_checkpoint_open(const char *dir, const TnAllocator *a, HfCheckpoint **out, TnError *err);
/* The same of one file, in either format. */
TnStatus tni_hf_checkpoint_open_file(const char *path, const TnAllocator *a, HfCheckpoint **out, TnError *err);
void tni_hf_checkpoint_close(HfCheckpoint **c);
/* By name, marked as used; NULL when there is none. */
HfTensor *tni_hf_tensor(HfCheckpoint *c, const char *name);

/* One file's bytes: appends its tensors to c (fuzzed directly). name is for messages. */
TnStatus tni_hf_safetensors_read(HfCheckpoint *c, TnSpan file, const char *name, TnError *err);

#endif
