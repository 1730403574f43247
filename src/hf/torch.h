/* SPDX-License-Identifier: Apache-2.0
 *
 * The tensors of a file that torch.save wrote (.pth, .pt, .bin): a zip archive with a pickle, NAME/data.pkl, and the stored bytes of
 * every storage, NAME/data/KEY. */
#ifndef TENON_HF_TORCH_H
#define TENON_HF_TORCH_H

#include "hf/safetensors.h"

/* true when the bytes begin as a zip archive, a pickle or a tar archive does: what torch.save wrote, now or in the past. */
bool tni_hf_is_torch(TnSpan file);

/* Appends the tensors of the state dict to c: the dictionary itself when it holds tensors, or what it has under "model", "state_dict", "model_ema",
 * ...; names of nested dictionaries are joined by '.'; "module." before every name is dropped. Bytes are copied into c's arena and checked against
 * the archive's sums; storages shared by tensors are read once. Values that are no tensors are left out.
 * Errors: PARSE (no archive, damaged: what, and where), UNSUPPORTED (older formats: how to convert; anything but tensors: its name),
 * DATA (a tensor beyond its storage), LIMIT, MEMORY. */
TnStatus tni_hf_torch_read(HfCheckpoint *c, TnSpan file, const char *name, TnError *err);

#endif
