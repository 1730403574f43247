/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON files of a checkpoint, with errors that name the file and the field. */
#ifndef TENON_HF_JSON_H
#define TENON_HF_JSON_H

#include <jansson.h>

#include "base/span.h"

/* Parses one object; the caller releases it with json_decref. TN_ERR_PARSE names the file, line and reason. */
TnStatus tni_hf_json_parse(TnSpan text, const char *file, json_t **out, TnError *err);
/* Reads dir/name. Missing: TN_ERR_IO when required, else *out = NULL. bytes (may be NULL) receives the file's map, which the caller unmaps. */
TnStatus tni_hf_json_file(const char *dir, const char *name, bool required, json_t **out, TnFileMap *bytes, TnError *err);

/* A config object and its path for messages ("config.json: decoder"). */
typedef struct HfConfig {
    json_t *object;
    const char *where;
} HfConfig;

/* Field readers: *out keeps its value (the default) when the field is absent or null; a wrong type or range is TN_ERR_PARSE. */
TnStatus tni_hf_get_u32(HfConfig c, const char *field, uint32_t min, uint32_t max, uint32_t *out, TnError *err);
TnStatus tni_hf_get_i32(HfConfig c, const char *field, int32_t *out, TnError *err);
TnStatus tni_hf_get_f32(HfConfig c, const char *field, float *out, TnError *err);
TnStatus tni_hf_get_bool(HfConfig c, const char *field, bool *out, TnError *err);
/* The string stays owned by the config. */
TnStatus tni_hf_get_string(HfConfig c, const char *field, const char **out, TnError *err);
/* An int or [height, width]. */
TnStatus tni_hf_get_size(HfConfig c, const char *field, uint32_t *height, uint32_t *width, TnError *err);

#endif
