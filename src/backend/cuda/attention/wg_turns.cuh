/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention through wgmma, part of wg.cuh: how a consumer warpgroup goes over whole tiles of keys when the warpgroups take turns at the
 * tensor cores. Left alone they fall into step: all wait for products at the same time, then all for powers of two. In turns, one has the
 * tensor cores (the next scores and the last product with values, one behind the other) while the others work on probabilities.
 *
 * A turn is a barrier in shared memory for each warpgroup, at which the four warps of the one before arrive. All warpgroups of a block
 * have the same number of turns in a tile of queries, also one that has no queries there. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_WG_TURNS_CUH
#define TENON_BACKEND_CUDA_ATTENTION_WG_TURNS_CUH

/* In turns: what has to be there before the scores of a whole tile of keys; s begins as its biases. Nothing is under way. */
template <typename T, typename C>
TNI_DEVICE void attn_wg_ready(float (&s)[C::BN / 2], float (&center)[2], AttnWgWalk<C> &k, const TniAttnWgArgs &a) {
    tni_mbar_wait(k.base + C::K_FULL + k.kv.at * 8, k.kv.phase);
    if (C::MODE == 2) {
        tni_mbar_wait(k.base + C::BIAS_FULL + k.slot() * 8, k.bias.phase);
        attn_wg_begin_at<T, C, C::BN>(s, k, a.unit, 0);
        k.release(C::BIAS_FREE + k.slot() * 8);
        k.bias.next();
        attn_wg_center<C::BN>(s, center);
    }
}

/* In turns: products of the current tile, which are done, to scores. */
template <typename C>
TNI_DEVICE void attn_wg_got(float (&s)[C::BN / 2], const AttnWgWalk<C> &k, const TniAttnWgArgs &a, const int (&last)[2]) {
    if (C::MODE == 1)
        attn_wg_by_key<C::BN>(s, k.base + C::VEC_AT + (k.kv.at * C::BN + (threadIdx.x & 3) * 2) * 4, a.unit);
    k.release(C::K_FREE + k.kv.at * 8);
    if (__any_sync(TNI_ALL, last[0] < C::BN - 1 || last[1] < C::BN - 1))
        attn_wg_hide<C::BN>(s, last);
}

/* In turns: scores to the operand of the product with the values, while the product of the tile before may be under way. */
template <typename T, typename C>
TNI_DEVICE void attn_wg_soft(float (&o)[C::D / 2], AttnWgRows &rows, uint32_t (&p)[C::BN / 16][4], float (&s)[C::BN / 2],
                             const float (&center)[2], const AttnWgWalk<C> &k, const TniAttnWgArgs &a, bool first) {
    float fade[2];
    const bool grown = attn_wg_soften<C::BN>(s, center, rows, a.c, a.grow, fade);
    tni_wg_wait<0>();
    tni_wg_hold(o);
    attn_wg_keep(p);
    if (!first)
        k.release(C::V_FREE + (k.kv.at == 0 ? C::KS - 1u : k.kv.at - 1u) * 8);
    if (grown)
        attn_wg_scale(o, fade);
    attn_wg_narrow<T, C::BN>(p, s);
}

/* In turns: 0, once probabilities and sums are there. Otherwise the assembler puts much of them off until the product needs them, which is
 * when the others wait for the turn to end. With a dense bias the next scores need their registers before. */
template <typename C> TNI_DEVICE uint32_t attn_wg_after(const uint32_t (&p)[C::BN / 16][4], const AttnWgRows &rows, uint32_t none) {
    if (C::MODE == 2)
        return 0;
    uint32_t all = __float_as_uint(rows.sum[0]) | __float_as_uint(rows.sum[1]);
#pragma unroll
    for (int k = 0; k < C::BN / 16; k++)
        all |= p[k][0] | p[k][1] | p[k][2] | p[k][3];
    return all & none;
}

/* Whole tiles, n > 0, as attn_wg_whole; the warpgroups take turns at the tensor cores, so that they stay out of step: in a turn, the next
 * scores and the product with the last probabilities. A turn is passed on when these have been issued; a warpgroup that has its turn waits
 * for nothing. There are n + 1 turns for everybody. */
template <typename T, typename C>
TNI_DEVICE void attn_wg_in_turns(float (&o)[C::D / 2], AttnWgRows &rows, uint32_t (&p)[C::BN / 16][4], const uint32_t (&q)[C::D / 16][4],
                                 AttnWgWalk<C> &k, const TniAttnWgArgs &a, int n, int (&last)[2], uint32_t &busy) {
    float s[C::BN / 2], center[2] = {0.0f, 0.0f};
    attn_wg_ready<T, C>(s, center, k, a);
    k.take_turn(0);
    attn_wg_scores<T, C, C::BN>(s, q, k.base + k.kv.at * C::TILE);
    k.pass_turn();
    tni_wg_wait<0>();
    tni_wg_hold(s);
    attn_wg_got<C>(s, k, a, last);
#pragma unroll 1
    for (int j = 0; j + 1 < n; j++) {
        attn_wg_soft<T, C>(o, rows, p, s, center, k, a, j == 0);
        const AttnRing<C::KS> v = k.kv;
        k.kv.next();
        attn_wg_ready<T, C>(s, center, k, a);
        tni_mbar_wait(k.base + C::V_FULL + v.at * 8, v.phase);
        k.take_turn(attn_wg_after<C>(p, rows, a.none));
        attn_wg_scores<T, C, C::BN>(s, q, k.base + k.kv.at * C::TILE);
        attn_wg_weigh<T, C, C::BN>(o, p, k.base + C::V_AT + v.at * C::TILE);
        k.pass_turn();
        last[0] -= C::BN;
        last[1] -= C::BN;
        tni_wg_wait<1>();
        tni_wg_hold(s);
        attn_wg_got<C>(s, k, a, last);
    }
    attn_wg_soft<T, C>(o, rows, p, s, center, k, a, n == 1);
    tni_mbar_wait(k.base + C::V_FULL + k.kv.at * 8, k.kv.phase);
    k.take_turn(attn_wg_after<C>(p, rows, a.none));
    attn_wg_weigh<T, C, C::BN>(o, p, k.base + C::V_AT + k.kv.at * C::TILE);
    k.pass_turn();
    busy = C::V_FREE + k.kv.at * 8;
    k.kv.next();
    last[0] -= C::BN;
    last[1] -= C::BN;
}

#endif
