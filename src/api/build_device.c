/* SPDX-License-Identifier: Apache-2.0
 *
 * Device, target and precision of a build. In: options. Out: an open device, or the description of one that is elsewhere. */
#include "api/build_device.h"

#include "backend/device.h"
#include "planner/planner.h"

static TnStatus parse_precision(const char *s, BuildDevice *d, TnError *err) {
    static const struct {
        const char *name;
        TnDtype type;
        uint32_t math;
    } table[] = {{"fp32", TN_F32, 0}, {"tf32", TN_F32, TN_MATH_TF32}, {"fp16", TN_F16, TN_MATH_TF32}, {"bf16", TN_BF16, TN_MATH_TF32}};
    d->type = TN_F32;
    for (size_t i = 0; i < TN_COUNT(table) && s; i++) {
        if (strcmp(s, table[i].name) != 0)
            continue;
        d->type = table[i].type;
        d->math = table[i].math;
        return TN_OK;
    }
    return s ? TN_RAISE(err, TN_ERR_ARGUMENT, "precision '%s' is not one of fp32, tf32, fp16, bf16", s) : TN_OK;
}

/* The options of a build for the CPU. */
static TnStatus check_cpu(const TnBuildOptions *o, const BuildDevice *d, TnError *err) {
    if (d->type != TN_F32 || d->math)
        return TN_RAISE(err, TN_ERR_REQUEST, "precision '%s' was asked for, but the CPU's kernels compute in fp32; name a GPU (device cuda)",
                        o->precision);
    if (o->target)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "target '%s' names an architecture of a GPU; give device cuda too", o->target);
    if (o->allow_cpu_steps)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "allow_cpu_steps is for a GPU; on the CPU every step is one");
    return TN_OK;
}

/* Opens GPU `index` when it is of the target's architecture, or there is no target. */
static TnStatus open_device(uint32_t index, bool has_target, BuildDevice *d, TnError *err) {
    TnError why = {0};
    TnDevice *device = NULL;
    TnDeviceInfo info;
    uint32_t n = 0;
    TnStatus st = d->lib->count(&n, &why);
    if (st == TN_OK && index >= n)
        st = TN_RAISE(&why, TN_ERR_DEVICE, "GPU %u was asked for; there are %u", index, n);
    if (st == TN_OK)
        st = d->lib->open(index, &device, &why);
    if (st != TN_OK && has_target && st != TN_ERR_MEMORY)
        return TN_OK;
    if (st != TN_OK) {
        if (err)
            *err = why;
        return st == TN_ERR_DEVICE ? tni_error_prefix(err, st, "no GPU to build on (a target, as sm_90, builds without one)") : st;
    }
    d->lib->info(device, &info);
    if (has_target && info.arch != d->info.arch) {
        d->lib->close(&device);
        return TN_OK;
    }
    d->device = device;
    d->info = info;
    return TN_OK;
}

TnStatus tni_api_build_device_open(const TnBuildOptions *o, BuildDevice *d, TnError *err) {
    TnDeviceKind kind = TN_DEVICE_CPU;
    uint32_t index = 0;
    memset(d, 0, sizeof *d);
    TN_TRY(parse_precision(o->precision, d, err));
    if (o->allow_cpu_steps != 0 && o->allow_cpu_steps != 1)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "allow_cpu_steps is %d; 0 or 1 are possible", o->allow_cpu_steps);
    if (o->device && !tni_device_parse(o->device, &kind, &index))
        return TN_RAISE(err, TN_ERR_ARGUMENT, "device '%s' is not one of cpu, cuda, cuda:N", o->device);
    if (kind == TN_DEVICE_CPU)
        return check_cpu(o, d, err);
    if (o->reference)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "reference kernels run on the CPU; reference and device '%s' exclude each other", o->device);
    if (o->target)
        TN_TRY(tni_planner_target(o->target, &d->info, err));
    TN_TRY(tni_device_library(kind, &d->lib, err));
    TN_TRY(open_device(index, o->target != NULL, d, err));
    if (o->tune && !d->device)
        return TN_RAISE(err, TN_ERR_REQUEST, "tune was asked for, but no GPU of target '%s' is here; kernels are timed on the GPU that runs them",
                        o->target);
    return TN_OK;
}

void tni_api_build_device_close(BuildDevice *d) {
    if (d->device)
        d->lib->close(&d->device);
    d->device = NULL;
}
