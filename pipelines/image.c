/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoding: libpng, libjpeg, libexif. Both libraries report errors by longjmp, so every object that must be released lives in a struct that
 * the setjmp frame does not modify afterwards. */
#include "pipelines/image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <libexif/exif-data.h>
#include <png.h>

#include "pipelines/npz.h"
#include "pipelines/util.h"

#define MAX_FILE_BYTES ((size_t)512 * 1024 * 1024)
#define MAX_JPEG_SCANS 100

void tn_image_free(TnImage *image) {
    free(image->rgb);
    *image = (TnImage){0};
}

static TnStatus image_alloc(TnImage *image, uint64_t width, uint64_t height, const char *name, TnError *err) {
    if (width == 0 || height == 0)
        return tnp_fail(err, TN_ERR_PARSE, "'%s': the picture has no pixels (%llu x %llu)", name, (unsigned long long)width,
                        (unsigned long long)height);
    if (width > TN_IMAGE_MAX_PIXELS || height > TN_IMAGE_MAX_PIXELS || width * height > TN_IMAGE_MAX_PIXELS)
        return tnp_fail(err, TN_ERR_LIMIT, "'%s': %llu x %llu pixels; at most %u are read: make the picture smaller", name,
                        (unsigned long long)width, (unsigned long long)height, TN_IMAGE_MAX_PIXELS);
    image->width = (uint32_t)width;
    image->height = (uint32_t)height;
    image->rgb = malloc((size_t)(width * height * 3));
    if (image->rgb == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory: %llu bytes for the pixels", name, (unsigned long long)(width * height * 3));
    return TN_OK;
}

static uint8_t over_white(uint32_t c, uint32_t a) { return (uint8_t)((c * a + 255u * (255u - a) + 127u) / 255u); }

/* ---- EXIF orientation ---- */

/* Orientation 1..8 of a TIFF structure that follows "Exif\0\0"; 1 when there is none. */
static int exif_orientation(const uint8_t *data, size_t n) {
    ExifData *d = exif_data_new_from_data(data, (unsigned)n);
    if (d == NULL)
        return 1;
    ExifEntry *e = exif_content_get_entry(d->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    int o = e != NULL && e->format == EXIF_FORMAT_SHORT && e->size >= 2 ? exif_get_short(e->data, exif_data_get_byte_order(d)) : 1;
    exif_data_unref(d);
    return o >= 1 && o <= 8 ? o : 1;
}

static TnStatus orient(TnImage *image, int o, const char *name, TnError *err) {
    if (o == 1)
        return TN_OK;
    TnImage turned = {0};
    bool swap = o >= 5;
    uint32_t w = image->width, h = image->height;
    TnStatus st = image_alloc(&turned, swap ? h : w, swap ? w : h, name, err);
    if (st != TN_OK)
        return st;
    for (uint32_t y = 0; y < turned.height; y++) {
        for (uint32_t x = 0; x < turned.width; x++) {
            /* Orientations: 2 mirror, 3 half turn, 4 flip, 5 transpose, 6 turn right, 7 transverse, 8 turn left. */
            uint32_t sx = swap ? y : x, sy = swap ? x : y;
            if (o == 2 || o == 3 || o == 7 || o == 8)
                sx = w - 1 - sx;
            if (o == 3 || o == 4 || o == 6 || o == 7)
                sy = h - 1 - sy;
            memcpy(turned.rgb + ((size_t)y * turned.width + x) * 3, image->rgb + ((size_t)sy * w + sx) * 3, 3);
        }
    }
    tn_image_free(image);
    *image = turned;
    return TN_OK;
}

/* ---- PNG ---- */

typedef struct PngJob {
    const uint8_t *data;
    size_t n, at;
    const char *name;
    TnError *err;
    TnStatus status;
    png_structp png;
    png_infop info;
    uint8_t *rgba;
    png_bytep *rows;
    TnImage image;
    int orientation;
} PngJob;

static void png_fail(png_structp png, png_const_charp message) {
    PngJob *job = png_get_error_ptr(png);
    job->status = tnp_fail(job->err, TN_ERR_PARSE, "'%s': damaged PNG: %s", job->name, message);
    png_longjmp(png, 1);
}

static void png_quiet(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void png_bytes(png_structp png, png_bytep out, size_t n) {
    PngJob *job = png_get_io_ptr(png);
    if (n > job->n - job->at)
        png_error(png, "the file ends early");
    memcpy(out, job->data + job->at, n);
    job->at += n;
}

static void png_find_orientation(PngJob *job) {
    png_bytep exif = NULL;
    png_uint_32 n = 0;
    job->orientation = 1;
#ifdef PNG_eXIf_SUPPORTED
    if (png_get_eXIf_1(job->png, job->info, &n, &exif) == 0 || exif == NULL || n > 65536)
        return;
    uint8_t *buf = malloc((size_t)n + 6);
    if (buf == NULL)
        return;
    memcpy(buf, "Exif\0\0", 6);
    memcpy(buf + 6, exif, n);
    job->orientation = exif_orientation(buf, (size_t)n + 6);
    free(buf);
#endif
}

static void png_read(PngJob *job) {
    png_structp png = job->png;
    png_set_read_fn(png, job, png_bytes);
    png_set_user_limits(png, TN_IMAGE_MAX_PIXELS, TN_IMAGE_MAX_PIXELS);
    png_set_chunk_cache_max(png, 1000);
    png_set_chunk_malloc_max(png, 8000000);
    png_read_info(png, job->info);
    uint32_t w = png_get_image_width(png, job->info), h = png_get_image_height(png, job->info);
    job->status = image_alloc(&job->image, w, h, job->name, job->err);
    if (job->status != TN_OK)
        return;
    png_set_scale_16(png);
    png_set_expand(png); /* palette to RGB, 1/2/4-bit grey to 8, tRNS to alpha */
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    job->rgba = malloc((size_t)w * h * 4);
    job->rows = malloc((size_t)h * sizeof *job->rows);
    if (job->rgba == NULL || job->rows == NULL) {
        job->status = tnp_fail(job->err, TN_ERR_MEMORY, "'%s': out of memory: %zu bytes for the pixels", job->name, (size_t)w * h * 4);
        return;
    }
    if (png_get_rowbytes(png, job->info) != (size_t)w * 4)
        png_error(png, "unexpected pixel layout");
    for (uint32_t y = 0; y < h; y++)
        job->rows[y] = job->rgba + (size_t)y * w * 4;
    png_read_image(png, job->rows);
    png_read_end(png, job->info);
    png_find_orientation(job);
    for (size_t i = 0; i < (size_t)w * h; i++) {
        const uint8_t *p = job->rgba + i * 4;
        for (size_t c = 0; c < 3; c++)
            job->image.rgb[i * 3 + c] = over_white(p[c], p[3]);
    }
}

static TnStatus decode_png(const void *data, size_t n, const char *name, TnImage *out, TnError *err) {
    PngJob *job = calloc(1, sizeof *job);
    if (job == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory", name);
    *job = (PngJob){.data = data, .n = n, .name = name, .err = err};
    job->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, png_fail, png_quiet);
    job->info = job->png == NULL ? NULL : png_create_info_struct(job->png);
    if (job->info == NULL)
        job->status = tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory", name);
    else if (setjmp(png_jmpbuf(job->png)) == 0)
        png_read(job);
    if (job->png != NULL)
        png_destroy_read_struct(&job->png, &job->info, NULL);
    free(job->rgba);
    free(job->rows);
    if (job->status == TN_OK)
        job->status = orient(&job->image, job->orientation, name, err);
    TnStatus st = job->status;
    if (st == TN_OK)
        *out = job->image;
    else
        tn_image_free(&job->image);
    free(job);
    return st;
}

/* ---- JPEG ---- */

typedef struct JpegJob {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const char *name;
    TnError *err;
    TnStatus status;
    uint8_t *row;
    TnImage image;
    int orientation;
} JpegJob;

static void jpeg_fail(j_common_ptr jpeg) {
    JpegJob *job = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    job->status = tnp_fail(job->err, TN_ERR_PARSE, "'%s': damaged JPEG: %s", job->name, text);
    longjmp(job->jump, 1);
}

static void jpeg_quiet(j_common_ptr jpeg) { (void)jpeg; }

/* Data that ends early is a warning to libjpeg, which paints the rest grey; to us it is damage. Other warnings (stray bytes) are not. */
static void jpeg_warn(j_common_ptr jpeg, int level) {
    if (level < 0 && (jpeg->err->msg_code == JWRN_JPEG_EOF || jpeg->err->msg_code == JWRN_HIT_MARKER))
        jpeg_fail(jpeg);
}

static void jpeg_progress(j_common_ptr jpeg) {
    JpegJob *job = jpeg->client_data;
    if (jpeg->is_decompressor && ((j_decompress_ptr)jpeg)->input_scan_number > MAX_JPEG_SCANS) {
        job->status = tnp_fail(job->err, TN_ERR_LIMIT, "'%s': JPEG with more than %d scans", job->name, MAX_JPEG_SCANS);
        longjmp(job->jump, 1);
    }
}

static void jpeg_read(JpegJob *job, const void *data, size_t n) {
    j_decompress_ptr jpeg = &job->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->client_data = job;
    jpeg->progress = &job->progress;
    job->progress.progress_monitor = jpeg_progress;
    jpeg_mem_src(jpeg, data, (unsigned long)n);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    job->status = image_alloc(&job->image, jpeg->image_width, jpeg->image_height, job->name, job->err);
    if (job->status != TN_OK)
        return;
    job->orientation = 1;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m != NULL; m = m->next) {
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            job->orientation = exif_orientation(m->data, m->data_length);
    }
    bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(jpeg);
    size_t w = jpeg->output_width;
    job->row = malloc(w * 4);
    if (job->row == NULL || jpeg->output_components != (cmyk ? 4 : 3) || w != job->image.width) {
        job->status = tnp_fail(job->err, TN_ERR_MEMORY, "'%s': out of memory", job->name);
        return;
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *dst = job->image.rgb + (size_t)jpeg->output_scanline * w * 3;
        JSAMPROW row = cmyk ? job->row : dst;
        jpeg_read_scanlines(jpeg, &row, 1);
        /* CMYK in JPEG files is stored inverted (as Adobe does), so ink is 255 - value: colour = value * key. */
        for (size_t i = 0; cmyk && i < w; i++) {
            for (size_t c = 0; c < 3; c++)
                dst[i * 3 + c] = (uint8_t)((job->row[i * 4 + c] * (uint32_t)job->row[i * 4 + 3] + 127u) / 255u);
        }
    }
    jpeg_finish_decompress(jpeg);
}

static TnStatus decode_jpeg(const void *data, size_t n, const char *name, TnImage *out, TnError *err) {
    JpegJob *job = calloc(1, sizeof *job);
    if (job == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "'%s': out of memory", name);
    job->name = name;
    job->err = err;
    job->jpeg.err = jpeg_std_error(&job->errors);
    job->jpeg.client_data = job;
    job->errors.error_exit = jpeg_fail;
    job->errors.output_message = jpeg_quiet;
    job->errors.emit_message = jpeg_warn;
    if (setjmp(job->jump) == 0)
        jpeg_read(job, data, n);
    jpeg_destroy_decompress(&job->jpeg);
    free(job->row);
    if (job->status == TN_OK)
        job->status = orient(&job->image, job->orientation, name, err);
    TnStatus st = job->status;
    if (st == TN_OK)
        *out = job->image;
    else
        tn_image_free(&job->image);
    free(job);
    return st;
}

/* ---- .npy ---- */

static TnStatus decode_npy(const void *data, size_t n, const char *name, TnImage *out, TnError *err) {
    TnTensor t = {0};
    TnStatus st = tn_npy_read_memory(data, n, name, NULL, &t, err);
    if (st != TN_OK)
        return st;
    int64_t c = t.rank == 3 ? t.dims[2] : 1;
    if (t.dtype != TN_U8 || t.rank < 2 || t.rank > 3 || (c != 1 && c != 3 && c != 4)) {
        tn_npy_free(NULL, &t);
        return tnp_fail(err, TN_ERR_SHAPE, "'%s': a picture array must be uint8 of shape [H,W], [H,W,1], [H,W,3] or [H,W,4]", name);
    }
    TnImage image = {0};
    st = image_alloc(&image, (uint64_t)t.dims[1], (uint64_t)t.dims[0], name, err);
    const uint8_t *src = t.data;
    for (size_t i = 0; st == TN_OK && i < (size_t)image.width * image.height; i++) {
        for (size_t k = 0; k < 3; k++)
            image.rgb[i * 3 + k] = c == 4 ? over_white(src[i * 4 + k], src[i * 4 + 3]) : src[i * (size_t)c + (c == 1 ? 0 : k)];
    }
    tn_npy_free(NULL, &t);
    if (st == TN_OK)
        *out = image;
    return st;
}

TnStatus tn_image_decode(const void *data, size_t n, const char *name, TnImage *out, TnError *err) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    *out = (TnImage){0};
    if (n >= 8 && memcmp(data, png, 8) == 0)
        return decode_png(data, n, name, out, err);
    if (n >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        return decode_jpeg(data, n, name, out, err);
    if (n >= 6 && memcmp(data, "\x93NUMPY", 6) == 0)
        return decode_npy(data, n, name, out, err);
    return tnp_fail(err, n == 0 ? TN_ERR_PARSE : TN_ERR_UNSUPPORTED,
                    n == 0 ? "'%s' is empty" : "'%s' is neither PNG nor JPEG nor .npy; convert it to PNG", name);
}

TnStatus tn_image_load(const char *path, TnImage *out, TnError *err) {
    void *data;
    size_t n;
    *out = (TnImage){0};
    TnStatus st = tnp_read_file(path, MAX_FILE_BYTES, &data, &n, err);
    if (st != TN_OK)
        return st;
    st = tn_image_decode(data, n, path, out, err);
    free(data);
    return st;
}
