/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures of every kind against what Pillow makes of them, damaged files, edit distance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipelines/image.h"
#include "pipelines/npz.h"
#include "pipelines/ocr.h"
#include "pipelines/util.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/"

/* Largest difference between a picture and an expected [H,W,3] array; 256 when the sizes differ. */
static int largest_difference(const TnImage *image, const TnTensor *want) {
    if (want->rank != 3 || want->dims[0] != image->height || want->dims[1] != image->width || want->dims[2] != 3)
        return 256;
    int most = 0;
    for (size_t i = 0; i < (size_t)image->width * image->height * 3; i++) {
        int d = abs((int)image->rgb[i] - (int)((const uint8_t *)want->data)[i]);
        most = d > most ? d : most;
    }
    return most;
}

static void pictures_decode_and_resize_as_in_pillow(void **state) {
    (void)state;
    TnNpz want;
    TnError err = {0};
    assert_int_equal(tn_npz_read(DATA "expected.npz", NULL, &want, &err), TN_OK);
    assert_true(want.n > 30);
    for (uint32_t i = 0; i < want.n; i++) {
        char path[512], name[128];
        unsigned w = 0, h = 0;
        int filter = 0;
        TnImage image, resized;
        snprintf(name, sizeof name, "%s", want.names[i]);
        char *at = strchr(name, '@');
        if (at != NULL) {
            *at = '\0';
            assert_int_equal(sscanf(at + 1, "%ux%u:%d", &w, &h, &filter), 3);
        }
        snprintf(path, sizeof path, DATA "%s", name);
        if (tn_image_load(path, &image, &err) != TN_OK)
            fail_msg("%s: %s", name, err.message);
        if (at != NULL) {
            assert_int_equal(tn_image_resize(&image, w, h, filter == 2 ? TN_RESAMPLE_BILINEAR : TN_RESAMPLE_BICUBIC, &resized, &err), TN_OK);
            tn_image_free(&image);
            image = resized;
        }
        /* PNG and resizing to the bit. JPEG decoders may differ by one in the colour conversion. */
        int allowed = strstr(name, ".jpg") != NULL ? 1 : 0, d = largest_difference(&image, &want.tensors[i]);
        if (!(d <= allowed))
            fail_msg("%s differs from Pillow by %d", want.names[i], d);
        tn_image_free(&image);
    }
    tn_npz_free(NULL, &want);
}

static void damaged_pictures_are_refused(void **state) {
    (void)state;
    static const char *const files[] = {"rgb.png", "rgb.jpg", "progressive.jpg", "grey.npy", "orientation6.png"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[512];
        void *data;
        size_t n;
        TnError err = {0};
        TnImage image;
        snprintf(path, sizeof path, DATA "%s", files[f]);
        assert_int_equal(tnp_read_file(path, 1 << 20, &data, &n, &err), TN_OK);
        for (size_t cut = 0; cut < n - 12; cut++) { /* the last bytes of a PNG are IEND, without which all pixels are there */
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, data, cut);
            TnStatus st = tn_image_decode(copy, cut, files[f], &image, &err);
            if (st == TN_OK && strstr(files[f], ".png") == NULL)
                fail_msg("%s cut to %zu of %zu bytes was read", files[f], cut, n);
            tn_image_free(&image);
            free(copy);
        }
        for (size_t i = 0; i < n; i++) { /* every byte wrong once: no crash, and an error or a picture */
            uint8_t *copy = malloc(n);
            memcpy(copy, data, n);
            copy[i] ^= 0x55;
            tn_image_decode(copy, n, files[f], &image, &err);
            tn_image_free(&image);
            free(copy);
        }
        free(data);
    }
    TnImage image;
    TnError err = {0};
    assert_int_equal(tn_image_decode("GIF89a", 6, "x.gif", &image, &err), TN_ERR_UNSUPPORTED);
    assert_int_equal(tn_image_decode("", 0, "empty", &image, &err), TN_ERR_PARSE);
    assert_int_equal(tn_image_load("/nonexistent.png", &image, &err), TN_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent.png"));
}

static void bombs_are_refused_from_the_header(void **state) {
    (void)state;
    static uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 2, 0,
                            0, 0, 0x0c, 0xa8, 0x3a, 0x30, 0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e};
    TnImage image;
    TnError err = {0};
    TnStatus st = tn_image_decode(png, sizeof png, "bomb.png", &image, &err);
    assert_true(st == TN_ERR_LIMIT || st == TN_ERR_PARSE); /* the checksum above need not be right */
    TnImage small = {(uint8_t[3]){1, 2, 3}, 1, 1};
    assert_int_equal(tn_image_resize(&small, 1u << 20, 1u << 20, TN_RESAMPLE_BICUBIC, &image, &err), TN_ERR_ARGUMENT);
    assert_int_equal(tn_image_resize(&small, 0, 4, TN_RESAMPLE_BICUBIC, &image, &err), TN_ERR_ARGUMENT);
    assert_int_equal(tn_image_resize(&small, 4, 4, (TnResample)7, &image, &err), TN_ERR_ARGUMENT);
}

static void edit_distance_counts_code_points(void **state) {
    (void)state;
    static const struct {
        const char *text, *truth;
        uint32_t distance, n;
    } rows[] = {{"", "", 0, 0},           {"", "成都", 2, 2},         {"成都市", "成都", 1, 2},  {"软高", "较高", 1, 2},
                {"kitten", "sitting", 3, 7}, {"\xff", "a", 1, 1},      {"\xe6\x88", "成", 2, 1}, {"同", "同", 0, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t n;
        assert_int_equal(tn_text_distance(rows[i].text, rows[i].truth, &n), rows[i].distance);
        assert_int_equal(n, rows[i].n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_decode_and_resize_as_in_pillow),
        cmocka_unit_test(damaged_pictures_are_refused),
        cmocka_unit_test(bombs_are_refused_from_the_header),
        cmocka_unit_test(edit_distance_counts_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
