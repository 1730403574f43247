/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks a PlanGeneration blob: in: untrusted bytes, out: numbers that the loop can trust. */
#include "plan/generation.h"

#include <math.h>

_Static_assert(sizeof(PlanGeneration) == 200, "no hidden padding");

#define BAD(...) tni_raise(err, TN_ERR_PLAN, "generation: " __VA_ARGS__)

TnStatus tni_plan_generation_read(const void *data, uint64_t n, PlanGeneration *g, TnError *err) {
    if (n != sizeof *g)
        return BAD("%llu bytes; expected %zu", (unsigned long long)n, sizeof *g);
    memcpy(g, data, sizeof *g);
    if (g->version != PLAN_GENERATION_VERSION || g->bytes != sizeof *g)
        return BAD("version %u with %u bytes; expected version %u with %zu", g->version, g->bytes, PLAN_GENERATION_VERSION, sizeof *g);
    if (!memchr(g->encoder, 0, sizeof g->encoder) || !memchr(g->decoder, 0, sizeof g->decoder) || !g->encoder[0] || !g->decoder[0])
        return BAD("the program names are empty or not terminated");
    if (g->vocab_size == 0 || g->vocab_size > (1u << 28))
        return BAD("vocab_size is %u", g->vocab_size);
    if (g->start_id < 0 || (uint32_t)g->start_id >= g->vocab_size)
        return BAD("start_id %d is outside the vocabulary of %u", g->start_id, g->vocab_size);
    if (g->n_eos > PLAN_GENERATION_MAX_EOS)
        return BAD("n_eos is %u; at most %u", g->n_eos, PLAN_GENERATION_MAX_EOS);
    for (uint32_t i = 0; i < g->n_eos; i++)
        if (g->eos_id[i] < 0 || (uint32_t)g->eos_id[i] >= g->vocab_size)
            return BAD("eos_id %d is outside the vocabulary of %u", g->eos_id[i], g->vocab_size);
    const int32_t optional[3] = {g->pad_id, g->forced_bos_id, g->forced_eos_id};
    for (int i = 0; i < 3; i++)
        if (optional[i] >= 0 && (uint32_t)optional[i] >= g->vocab_size)
            return BAD("id %d is outside the vocabulary of %u", optional[i], g->vocab_size);
    if (g->max_positions == 0 || g->max_positions > (1u << 20))
        return BAD("max_positions is %u; 1 to %u are possible", g->max_positions, 1u << 20);
    if (g->max_length < 2 || g->max_length > g->max_positions + 1)
        return BAD("max_length is %u; 2 to max_positions + 1 = %u are possible", g->max_length, g->max_positions + 1);
    if (g->num_beams == 0 || g->num_beams > 1024 || (g->max_beams && g->num_beams > g->max_beams))
        return BAD("num_beams is %u of at most %u", g->num_beams, g->max_beams ? g->max_beams : 1024);
    if (!isfinite(g->length_penalty) || !isfinite(g->repetition_penalty) || !(g->repetition_penalty > 0))
        return BAD("length_penalty %g, repetition_penalty %g", (double)g->length_penalty, (double)g->repetition_penalty);
    if (g->early_stopping > PLAN_EARLY_NEVER)
        return BAD("early_stopping is %u", g->early_stopping);
    return TN_OK;
}
