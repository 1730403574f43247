/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs of a plan: from --inputs, or made up for benchmarks. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "pipelines/npz.h"
#include "pipelines/util.h"

void cli_inputs_free(TnTensor *inputs, uint32_t n) {
    for (uint32_t i = 0; inputs != NULL && i < n; i++)
        tn_npy_free(NULL, &inputs[i]);
    free(inputs);
}

/* Takes tensor t for input `name`; the tensor's data moves. */
static TnStatus place(TnPlan *plan, const char *name, TnTensor *t, TnTensor *inputs, TnError *err) {
    uint32_t i;
    TnStatus st = tn_plan_input_index(plan, name, &i, err);
    if (st != TN_OK)
        return st;
    if (inputs[i].data != NULL)
        return tnp_fail(err, TN_ERR_ARGUMENT, "input '%s' is given twice", name);
    inputs[i] = *t;
    *t = (TnTensor){0};
    return TN_OK;
}

static TnStatus from_npz(TnPlan *plan, const char *path, TnTensor *inputs, TnError *err) {
    TnNpz npz;
    TnStatus st = tn_npz_read(path, NULL, &npz, err);
    for (uint32_t i = 0; st == TN_OK && i < npz.n; i++)
        st = place(plan, npz.names[i], &npz.tensors[i], inputs, err);
    if (st == TN_OK || npz.n > 0)
        tn_npz_free(NULL, &npz);
    return st;
}

static TnStatus from_npy(TnPlan *plan, const char *spec, const char *equals, TnTensor *inputs, TnError *err) {
    char name[256];
    TnTensor t = {0};
    if ((size_t)(equals - spec) >= sizeof name)
        return tnp_fail(err, TN_ERR_ARGUMENT, "--inputs %s: the name is too long", spec);
    memcpy(name, spec, (size_t)(equals - spec));
    name[equals - spec] = '\0';
    TnStatus st = tn_npy_read(equals + 1, NULL, &t, err);
    if (st == TN_OK)
        st = place(plan, name, &t, inputs, err);
    tn_npy_free(NULL, &t);
    return st;
}

/* A tensor for a benchmark: symbols at their opt value (batch: as asked), floats in [-1, 1), integers and bools 1. */
static TnStatus make_input(const TnIoInfo *info, uint32_t batch, TnTensor *out, TnError *err) {
    size_t bits = tn_dtype_bits(info->dtype), n = 1;
    *out = (TnTensor){.dtype = info->dtype, .rank = info->rank};
    for (int32_t k = 0; k < info->rank; k++) {
        int64_t d = info->dims[k] >= 0 ? info->dims[k] : info->opt[k];
        if (info->dims[k] < 0 && batch != 0 && (strstr(info->dim_names[k], "batch") != NULL || k == 0))
            d = batch;
        out->dims[k] = d < 1 ? 1 : d;
        n *= (size_t)out->dims[k];
    }
    out->data = calloc(n + 1, bits == 0 ? 1 : (bits + 7) / 8);
    if (out->data == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: input '%s'", info->name);
    uint32_t seed = 12345;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (info->dtype == TN_F32)
            ((float *)out->data)[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
        else if (info->dtype == TN_F64)
            ((double *)out->data)[i] = (double)(seed >> 8) * 0x1p-23 - 1.0;
        else if (bits == 64)
            ((int64_t *)out->data)[i] = 1;
        else if (bits == 32)
            ((int32_t *)out->data)[i] = 1;
        else if (bits == 8)
            ((uint8_t *)out->data)[i] = 1;
    }
    return TN_OK;
}

TnStatus cli_inputs(Cli *cli, TnPlan *plan, bool make, uint32_t batch, TnTensor **out, uint32_t *n, TnError *err) {
    TnStatus st = TN_OK;
    *n = tn_plan_input_count(plan);
    *out = calloc(*n + 1u, sizeof **out);
    if (*out == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; st == TN_OK && i < cli->args.inputs.n; i++) {
        const char *spec = cli->args.inputs.item[i], *equals = strchr(spec, '=');
        st = equals != NULL ? from_npy(plan, spec, equals, *out, err) : from_npz(plan, spec, *out, err);
    }
    for (uint32_t i = 0; st == TN_OK && i < *n; i++) {
        TnIoInfo info;
        if ((*out)[i].data != NULL)
            continue;
        st = tn_plan_input(plan, i, &info, err);
        if (st == TN_OK && !make)
            st = tnp_fail(err, TN_ERR_NAME, "input '%s' is not given; add it with --inputs X.npz or --inputs %s=FILE.npy", info.name, info.name);
        if (st == TN_OK)
            st = make_input(&info, batch, &(*out)[i], err);
    }
    if (st != TN_OK) {
        cli_inputs_free(*out, *n);
        *out = NULL;
    }
    return st;
}
