/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON files and fields. */
#include "hf/json.h"

#include <stdio.h>
#include <unistd.h>

TnStatus tni_hf_json_parse(TnSpan text, const char *file, json_t **out, TnError *err) {
    json_error_t why;
    *out = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &why);
    if (*out != NULL && json_is_object(*out))
        return TN_OK;
    bool parsed = *out != NULL;
    json_decref(*out);
    *out = NULL;
    return TN_RAISE(err, TN_ERR_PARSE, "'%s' is not a JSON object%s%s (line %d, column %d)", file, parsed ? "" : ": ", parsed ? "" : why.text,
                    parsed ? 1 : why.line, parsed ? 1 : why.column);
}

TnStatus tni_hf_json_file(const char *dir, const char *name, bool required, json_t **out, TnFileMap *bytes, TnError *err) {
    char path[4096];
    TnFileMap map;
    *out = NULL;
    if (bytes != NULL)
        *bytes = (TnFileMap){NULL, 0};
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return TN_RAISE(err, TN_ERR_PATH, "the path of '%s' is too long", name);
    if (!required && access(path, F_OK) != 0)
        return TN_OK;
    TN_TRY(tni_file_map(path, &map, err));
    TnStatus st = tni_hf_json_parse((TnSpan){map.data, map.n, 0}, path, out, err);
    if (st == TN_OK && bytes != NULL)
        *bytes = map;
    else
        tni_file_unmap(&map);
    return st;
}

static json_t *field_of(HfConfig c, const char *field) {
    json_t *v = c.object == NULL ? NULL : json_object_get(c.object, field);
    return json_is_null(v) ? NULL : v;
}

TnStatus tni_hf_get_u32(HfConfig c, const char *field, uint32_t min, uint32_t max, uint32_t *out, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    if (!json_is_integer(v) || json_integer_value(v) < (json_int_t)min || json_integer_value(v) > (json_int_t)max)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a whole number from %u to %u", c.where, field, min, max);
    *out = (uint32_t)json_integer_value(v);
    return TN_OK;
}

TnStatus tni_hf_get_i32(HfConfig c, const char *field, int32_t *out, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    if (!json_is_integer(v) || json_integer_value(v) < INT32_MIN || json_integer_value(v) > INT32_MAX)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a whole number", c.where, field);
    *out = (int32_t)json_integer_value(v);
    return TN_OK;
}

TnStatus tni_hf_get_f32(HfConfig c, const char *field, float *out, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    if (!json_is_number(v))
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a number", c.where, field);
    *out = (float)json_number_value(v);
    return TN_OK;
}

TnStatus tni_hf_get_bool(HfConfig c, const char *field, bool *out, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    if (!json_is_boolean(v))
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be true or false", c.where, field);
    *out = json_is_true(v);
    return TN_OK;
}

TnStatus tni_hf_get_string(HfConfig c, const char *field, const char **out, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    if (!json_is_string(v))
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a string", c.where, field);
    *out = json_string_value(v);
    return TN_OK;
}

TnStatus tni_hf_get_size(HfConfig c, const char *field, uint32_t *height, uint32_t *width, TnError *err) {
    json_t *v = field_of(c, field);
    if (v == NULL)
        return TN_OK;
    json_t *h = json_is_array(v) ? json_array_get(v, 0) : v, *w = json_is_array(v) ? json_array_get(v, 1) : v;
    if (!json_is_integer(h) || !json_is_integer(w) || json_integer_value(h) < 1 || json_integer_value(w) < 1 || json_integer_value(h) > 65536 ||
        json_integer_value(w) > 65536)
        return TN_RAISE(err, TN_ERR_PARSE, "%s: '%s' must be a whole number or [height, width], from 1 to 65536", c.where, field);
    *height = (uint32_t)json_integer_value(h);
    *width = (uint32_t)json_integer_value(w);
    return TN_OK;
}
