/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures: decoding to 8-bit RGB, resizing as Pillow does, normalising into a tensor. */
#ifndef TENON_PIPELINES_IMAGE_H
#define TENON_PIPELINES_IMAGE_H

#include "tenon/tensor.h"

/* 8-bit RGB, rows top to bottom without padding. rgb is heap memory; release with tn_image_free. */
typedef struct TnImage {
    uint8_t *rgb; /* [height, width, 3] */
    uint32_t width, height;
} TnImage;

#define TN_IMAGE_MAX_PIXELS (64u * 1024 * 1024) /* larger pictures are refused from their header */

/* Reads PNG, JPEG, or a .npy array (uint8, [H,W], [H,W,1], [H,W,3] or [H,W,4]). By content, not by file name.
 * Grey, palette, 16-bit (scaled), CMYK and YCCK become RGB; alpha and transparent colours are laid over white; the EXIF orientation is
 * applied. Errors: TN_ERR_IO (cannot be read), TN_ERR_PARSE (damaged: the library's reason), TN_ERR_UNSUPPORTED (another format), TN_ERR_LIMIT
 * (too many pixels or JPEG scans), TN_ERR_MEMORY. The message names the file. */
TnStatus tn_image_load(const char *path, TnImage *out, TnError *err);
/* The same from memory; name is for messages. */
TnStatus tn_image_decode(const void *data, size_t n, const char *name, TnImage *out, TnError *err);
void tn_image_free(TnImage *image); /* safe on a zeroed struct */
/* PNG file, whole or not at all. IO, MEMORY. */
TnStatus tn_image_save_png(const TnImage *image, const char *path, TnError *err);

/* Numbers as in Pillow and in preprocessor_config.json's `resample`. */
typedef enum TnResample { TN_RESAMPLE_BILINEAR = 2, TN_RESAMPLE_BICUBIC = 3 } TnResample;

/* Antialiased resize with the arithmetic of Pillow's Image.resize: separable, horizontal first, coefficients in 22-bit fixed point, rounded
 * to 8 bits after each pass. Newer versions of Pillow take the vertical pass first where that is less work (mostly: shrinking tall pictures),
 * which moves some values by 1 or 2. Errors: ARGUMENT (size 0 or above TN_IMAGE_MAX_PIXELS, unknown filter), MEMORY. */
TnStatus tn_image_resize(const TnImage *image, uint32_t width, uint32_t height, TnResample filter, TnImage *out, TnError *err);

/* Bilinear without antialiasing, with the arithmetic of OpenCV's cv2.resize (INTER_LINEAR, 8 bits): weights in 11-bit fixed point; exactly half of
 * both sides is the mean of four. Errors: ARGUMENT (size 0 or above TN_IMAGE_MAX_PIXELS), MEMORY. */
TnStatus tn_image_resize_linear(const TnImage *image, uint32_t width, uint32_t height, TnImage *out, TnError *err);

/* planes [3, H, W] f32 = (rgb * scale - mean[c]) / std[c]. */
void tn_image_normalize(const TnImage *image, float scale, const float mean[3], const float std[3], float *planes);

#endif
