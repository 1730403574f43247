/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors reader on any bytes. Every tensor that it accepts is read to its last byte. */
#include "hf/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    HfCheckpoint c = {0};
    TnError err = {0};
    volatile uint8_t sum = 0;
    if (tni_arena_create(NULL, &c.arena, &err) != TN_OK)
        return 0;
    if (tni_hf_safetensors_read(&c, (TnSpan){data, n, 0}, "fuzz", &err) == TN_OK) {
        for (uint32_t i = 0; i < c.n_tensors; i++) {
            const uint8_t *p = c.tensors[i].t.data;
            for (size_t k = 0; k < tn_tensor_bytes(&c.tensors[i].t); k++)
                sum = (uint8_t)(sum + p[k]);
        }
    }
    tni_arena_destroy(&c.arena);
    return 0;
}
