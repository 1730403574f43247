/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading plans for devices. In: records that verify.c is checking. Rules: the header names one device, and only then do steps and values name
 * it; a step finds all its operands in the memory of its device, but for those in tni_op_host_inputs, which are the host's, and for copies
 * between memories; generated code is where it says; called programs take and give host memory. Nothing here needs the device:
 * tni_plan_verify_device holds a plan against one when it is opened for running. */
#include "backend/device.h"
#include "plan/verify.h"

#define BAD(...) tni_raise(err, TN_ERR_PLAN, __VA_ARGS__)
#define MAX_KERNEL_NAME 128

const char *tni_plan_device_name(uint32_t device) {
    return device == TN_DEVICE_CPU ? "cpu" : device == TN_DEVICE_CUDA ? "cuda" : "unknown";
}

TnStatus tni_plan_check_header_device(const Plan *p, TnError *err) {
    const PlanHeader *h = p->header;
    if (h->device == TN_DEVICE_CPU) {
        if (h->arch || h->math || h->device_identity)
            return BAD("header: a plan for the CPU with arch %u, math %u, device identity %016llx", h->arch, h->math,
                       (unsigned long long)h->device_identity);
        for (uint32_t i = 0; i < p->n_programs; i++)
            if (p->programs[i].device_arena_bytes || p->programs[i].device_arena_lower_bound)
                return BAD("programs[%u]: a device arena in a plan for the CPU", i);
        return TN_OK;
    }
    if (h->arch < 10 || h->arch > 9999)
        return BAD("header: compute capability x 10 is %u", h->arch);
    if (h->math & ~TN_MATH_TF32)
        return tni_raise(err, TN_ERR_INCOMPATIBLE, "the plan allows mathematics %#x that this library does not know; build it again here",
                         h->math & ~TN_MATH_TF32);
    return TN_OK;
}

bool tni_plan_is_transfer(const Plan *p, const PlanProgram *g, uint32_t s) {
    const PlanStep *st = &p->steps[g->first_step + s];
    if (p->header->device == TN_DEVICE_CPU || strcmp(p->strings + st->op, "copy") != 0 || st->n_in != 1 || st->n_out != 1)
        return false;
    uint32_t in = p->operands[st->first_in], out = p->operands[st->first_out];
    if (in >= g->n_values || out >= g->n_values)
        return false;
    return p->values[g->first_value + in].device != p->values[g->first_value + out].device;
}

/* Lower-case words as in kernels.inc: nothing else is ever shown or looked up. */
static bool kernel_name_ok(const char *s) {
    size_t n = 0;
    for (; s[n]; n++)
        if (n >= MAX_KERNEL_NAME || !((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9') || s[n] == '_'))
            return false;
    return n > 0;
}

static TnStatus check_code(const PlanProg *g, uint32_t s, TnError *err) {
    const PlanStep *st = &g->steps[s];
    PlanCode c;
    if (st->code == PLAN_NONE)
        return TN_OK;
    const PlanValue *v = st->code < g->g->n_values ? &g->values[st->code] : NULL;
    if (!v || v->place != PLAN_AT_WEIGHT || v->dtype != TN_U8 || v->device != TN_DEVICE_CPU)
        return BAD("%s: step %u: code %u is no vector of bytes among the weights", g->name, s, st->code);
    if (st->device == TN_DEVICE_CPU)
        return BAD("%s: step %u: generated code for the CPU", g->name, s);
    if (v->bytes < sizeof c)
        return BAD("%s: step %u: its code has %llu bytes", g->name, s, (unsigned long long)v->bytes);
    memcpy(&c, g->p->weights + v->offset, sizeof c);
    uint64_t rest = v->bytes - sizeof c;
    if (c.binary_bytes > rest || c.source_bytes != rest - c.binary_bytes)
        return BAD("%s: step %u: code of %llu bytes and source of %llu do not fill %llu", g->name, s, (unsigned long long)c.binary_bytes,
                   (unsigned long long)c.source_bytes, (unsigned long long)rest);
    if (c.binary_bytes == 0 && c.source_bytes == 0)
        return BAD("%s: step %u: neither code nor source", g->name, s);
    if (c.source_bytes && g->p->weights[v->offset + v->bytes - 1] != 0)
        return BAD("%s: step %u: the source is not terminated", g->name, s);
    return TN_OK;
}

TnStatus tni_plan_check_kernel_name(const PlanProg *g, uint32_t s, uint32_t kernel, TnError *err) {
    return kernel_name_ok(g->p->strings + kernel) ? TN_OK : BAD("%s: step %u: its kernel's name is not one", g->name, s);
}

TnStatus tni_plan_check_step_device(const PlanProg *g, uint32_t s, TnOp op, TnError *err) {
    const PlanStep *st = &g->steps[s];
    if (st->device != TN_DEVICE_CPU && st->device != g->p->header->device)
        return BAD("%s: step %u: runs on device kind %u; the plan is for %u", g->name, s, st->device, g->p->header->device);
    if (st->device != TN_DEVICE_CPU && (tni_op_info(op)->flags & TN_OPF_CONTROL))
        return BAD("%s: step %u: %s runs on a device", g->name, s, tni_op_info(op)->name);
    if (st->device != TN_DEVICE_CPU && !tni_plan_is_transfer(g->p, g->g, s))
        TN_TRY(tni_plan_check_kernel_name(g, s, st->kernel, err));
    return check_code(g, s, err);
}

/* Operand or result `id` of step s must lie in `device`. */
static TnStatus in_memory(const PlanProg *g, uint32_t s, const char *what, uint32_t i, uint32_t id, uint32_t device, TnError *err) {
    if (id == PLAN_NONE || g->values[id].place == PLAN_AT_PACKED || g->values[id].device == device)
        return TN_OK;
    return BAD("%s: step %u: %s %u lies in the memory of device kind %u, expected %u", g->name, s, what, i, g->values[id].device, device);
}

TnStatus tni_plan_check_step_memory(const PlanProg *g, uint32_t s, TnOp op, TnError *err) {
    const PlanStep *st = &g->steps[s];
    const uint32_t *ops = g->p->operands;
    if (g->p->header->device == TN_DEVICE_CPU)
        return TN_OK;
    if (tni_plan_is_transfer(g->p, g->g, s))
        return st->first_packed == PLAN_NONE ? TN_OK : BAD("%s: step %u: a copy between memories with packed operands", g->name, s);
    uint32_t host = tni_op_host_inputs(op);
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t want = i < 32 && (host & 1u << i) ? TN_DEVICE_CPU : st->device;
        TN_TRY(in_memory(g, s, "operand", i, ops[st->first_in + i], want, err));
        if (st->first_packed != PLAN_NONE)
            TN_TRY(in_memory(g, s, "packed form", i, ops[st->first_packed + i], st->device, err));
    }
    for (uint32_t i = 0; i < st->n_out; i++)
        TN_TRY(in_memory(g, s, "result", i, ops[st->first_out + i], st->device, err));
    return TN_OK;
}

/* ---- across programs ---- */

static TnStatus check_called(const Plan *p, uint32_t s, TnError *err) {
    TnControlParams c;
    TnOp op;
    if (!tni_op_find(p->strings + p->steps[s].op, &op) || !(tni_op_info(op)->flags & TN_OPF_CONTROL))
        return TN_OK;
    memcpy(&c, p->params + p->steps[s].params, sizeof c);
    for (uint32_t k = 0; k < (op == TN_OP_if_ ? 2u : 1u); k++) {
        const PlanProgram *sub = &p->programs[c.graph[k]];
        for (uint32_t i = 0; i < sub->n_inputs + sub->n_outputs; i++) {
            uint32_t id = p->operands[i < sub->n_inputs ? sub->first_input + i : sub->first_output + (i - sub->n_inputs)];
            if (p->values[sub->first_value + id].device != TN_DEVICE_CPU)
                return BAD("%s: is called by a step, but its value %u lies in the memory of a device", p->strings + sub->name, id);
        }
    }
    return TN_OK;
}

TnStatus tni_plan_check_shared_memory(const Plan *p, const TnAllocator *a, TnError *err) {
    if (p->header->device == TN_DEVICE_CPU)
        return TN_OK;
    uint8_t *seen = tni_calloc(a, (size_t)p->n_states + 1, 1); /* 0: not seen, else device + 1 */
    TnStatus st = seen ? TN_OK : TN_OOM(err, (size_t)p->n_states + 1);
    for (uint32_t i = 0; i < p->n_values && st == TN_OK; i++) {
        const PlanValue *v = &p->values[i];
        if (v->place != PLAN_AT_STATE)
            continue;
        if (seen[v->place_arg] && seen[v->place_arg] != v->device + 1)
            st = BAD("states[%u]: lies in two memories", v->place_arg);
        seen[v->place_arg] = (uint8_t)(v->device + 1);
    }
    for (uint32_t s = 0; s < p->n_steps && st == TN_OK; s++)
        st = check_called(p, s, err);
    tni_free(a, seen);
    return st;
}

/* ---- against a device ---- */

/* kernel: the step's own, or one that it has in a bucket. */
static TnStatus check_kernel(const Plan *p, const PlanProgram *g, uint32_t s, uint32_t kernel, const TnDeviceLibrary *lib,
                             const TnDeviceInfo *info, TnError *err) {
    const PlanStep *st = &p->steps[g->first_step + s];
    const char *name = p->strings + kernel, *node = p->strings + st->name;
    const TnKernel *k = tni_device_kernel_find(lib, name);
    if (!k)
        return tni_raise(err, TN_ERR_INCOMPATIBLE, "node '%s': the %s library here has no kernel '%s'; build the plan again with it", node,
                         lib->name, name);
    if (strcmp(tni_op_info(k->op)->name, p->strings + st->op) != 0)
        return BAD("node '%s': kernel %s does not compute %s", node, name, p->strings + st->op);
    if (info->arch < k->arch_min || (k->arch_max && info->arch > k->arch_max))
        return tni_raise(err, TN_ERR_INCOMPATIBLE,
                         "node '%s': kernel %s needs compute capability %u.%u%s; this device (%s) has %u.%u, the plan was built for %u.%u; "
                         "build the plan again for this device",
                         node, name, k->arch_min / 10, k->arch_min % 10, k->arch_max ? " exactly" : " or newer", info->name, info->arch / 10,
                         info->arch % 10, p->header->arch / 10, p->header->arch % 10);
    if (k->math & ~p->header->math)
        return BAD("node '%s': kernel %s takes liberties (%#x) that the plan does not allow", node, name, k->math & ~p->header->math);
    if (kernel != st->kernel && k->source)
        return BAD("node '%s': kernel %s of a bucket needs generated code", node, name);
    if (kernel == st->kernel && st->code != PLAN_NONE && !k->source)
        return BAD("node '%s': kernel %s runs no generated code, but the plan brings some", node, name);
    if (st->code == PLAN_NONE && k->source)
        return BAD("node '%s': kernel %s needs generated code, and the plan brings none", node, name);
    return TN_OK;
}

static TnStatus check_kernels(const Plan *p, const PlanProgram *g, uint32_t s, const TnDeviceLibrary *lib, const TnDeviceInfo *info,
                              TnError *err) {
    const uint32_t at = g->first_step + s;
    TN_TRY(check_kernel(p, g, s, p->steps[at].kernel, lib, info, err));
    for (uint32_t b = 0; b < p->n_buckets; b++)
        if (p->kernels[(size_t)at * p->n_buckets + b])
            TN_TRY(check_kernel(p, g, s, p->kernels[(size_t)at * p->n_buckets + b], lib, info, err));
    return TN_OK;
}

TnStatus tni_plan_verify_device(const Plan *p, const TnDeviceLibrary *lib, const TnDeviceInfo *info, TnError *err) {
    for (uint32_t i = 0; i < p->n_programs; i++) {
        const PlanProgram *g = &p->programs[i];
        for (uint32_t s = 0; s < g->n_steps; s++)
            if (p->steps[g->first_step + s].device != TN_DEVICE_CPU && !tni_plan_is_transfer(p, g, s))
                TN_TRY(check_kernels(p, g, s, lib, info, err));
    }
    if (p->header->device_identity != lib->identity)
        return tni_raise(err, TN_ERR_INCOMPATIBLE,
                         "the plan was built by Tenon %.31s with other %s kernels than this library (%s) has; build it again with this one",
                         p->header->build, lib->name, TENON_VERSION);
    return TN_OK;
}
