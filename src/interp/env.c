/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of symbolic dimensions during a run. */
#include <stdio.h>

#include "interp/run.h"

TnStatus tni_interp_env_create(const IrModule *m, const TnAllocator *a, const Env *from, Env *env, TnError *err) {
    const size_t s = m->n_symbols, e = m->n_exprs, bytes = (s + e) * (sizeof(int64_t) + 1) + 1;
    *env = (Env){.m = m, .a = a, .memory = tni_calloc(a, 1, bytes)};
    if (env->memory == NULL)
        return TN_OOM(err, bytes);
    env->symbols = env->memory;
    env->values = env->symbols + s;
    env->has_symbol = (uint8_t *)(env->values + e);
    env->has_value = env->has_symbol + s;
    if (from != NULL)
        memcpy(env->memory, from->memory, bytes);
    else
        tni_interp_env_update(env);
    return TN_OK;
}

void tni_interp_env_destroy(Env *env) {
    if (env->memory != NULL)
        tni_free(env->a, env->memory);
    memset(env, 0, sizeof *env);
}

static uint32_t operands(uint32_t op) {
    return op == TN_DIM_CONST || op == TN_DIM_SYMBOL ? 0 : op == TN_DIM_SELECT ? 3 : 2;
}

static bool evaluate(const Env *env, const TnDimExpr *e, int64_t *out) {
    if (e->op == TN_DIM_CONST) {
        *out = e->value;
        return true;
    }
    if (e->op == TN_DIM_SYMBOL) {
        *out = env->symbols[e->value];
        return env->has_symbol[e->value] != 0;
    }
    const uint32_t c[3] = {e->a, e->b, e->c};
    int64_t v[3] = {0, 0, 0};
    if (e->op == TN_DIM_SELECT && env->has_value[c[0]] != 0) { /* the side not taken may stay unknown */
        const uint32_t side = env->values[c[0]] != 0 ? c[1] : c[2];
        *out = env->values[side];
        return env->has_value[side] != 0;
    }
    for (uint32_t i = 0; i < operands(e->op); i++) {
        if (env->has_value[c[i]] == 0)
            return false;
        v[i] = env->values[c[i]];
    }
    return tni_dim_apply((TnDimOp)e->op, v[0], v[1], v[2], out);
}

void tni_interp_env_update(Env *env) {
    for (uint32_t i = 0; i < env->m->n_exprs; i++)
        if (env->has_value[i] == 0 && evaluate(env, &env->m->exprs[i], &env->values[i]))
            env->has_value[i] = 1;
}

bool tni_interp_env_unbound(const Env *env, TnDim d, uint32_t *symbol) {
    if (d == TN_DIM_NONE || env->m->exprs[d].op != TN_DIM_SYMBOL || env->has_symbol[env->m->exprs[d].value] != 0)
        return false;
    *symbol = (uint32_t)env->m->exprs[d].value;
    return true;
}

bool tni_interp_env_agree(Env *env, const IrValue *v, const TnTensor *t, char *why, size_t n) {
    if (v->dtype != TN_UNDEFINED && v->dtype != t->dtype) {
        snprintf(why, n, "the type is %s, expected %s", tn_dtype_name(t->dtype), tn_dtype_name(v->dtype));
        return false;
    }
    if (v->rank < 0)
        return true;
    if (v->rank != t->rank) {
        snprintf(why, n, "the rank is %d, expected %d", (int)t->rank, (int)v->rank);
        return false;
    }
    bool bound = false;
    for (int32_t d = 0; d < t->rank; d++) {
        uint32_t s;
        if (!tni_interp_env_unbound(env, v->dims[d], &s))
            continue;
        env->symbols[s] = t->dims[d];
        env->has_symbol[s] = 1;
        bound = true;
    }
    if (bound)
        tni_interp_env_update(env);
    for (int32_t d = 0; d < t->rank; d++) {
        const TnDim dim = v->dims[d];
        if (dim == TN_DIM_NONE || (env->has_value[dim] != 0 && env->values[dim] == t->dims[d]))
            continue;
        if (env->has_value[dim] == 0) { /* min(u0, 100) + u1, say, of symbols that nothing here tells: the tensor tells the whole */
            env->values[dim] = t->dims[d];
            env->has_value[dim] = 1;
            tni_interp_env_update(env);
            continue;
        }
        char text[256];
        snprintf(why, n, "axis %d is %lld, expected %lld (%s)", (int)d, (long long)t->dims[d], (long long)env->values[dim],
                 tni_dim_str(text, sizeof text, env->m->exprs, env->m->symbols, dim));
        return false;
    }
    return true;
}
