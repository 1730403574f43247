/* SPDX-License-Identifier: Apache-2.0
 *
 * Picture decoding and resizing on any bytes: an error or a picture, never a crash. */
#include "pipelines/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    TnImage image, small;
    TnError err = {0};
    /* Large but honest pictures only cost time here. */
    if (tn_image_decode(data, n, "fuzz", &image, &err) == TN_OK) {
        if ((uint64_t)image.width * image.height < 1u << 20 &&
            tn_image_resize(&image, 16, 8, n % 2 == 0 ? TN_RESAMPLE_BILINEAR : TN_RESAMPLE_BICUBIC, &small, &err) == TN_OK)
            tn_image_free(&small);
        tn_image_free(&image);
    }
    return 0;
}
