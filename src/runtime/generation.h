/* SPDX-License-Identifier: Apache-2.0
 *
 * What greedy and beam search share: a decoder step over active rows, lane tables, scores. */
#ifndef TENON_RUNTIME_GENERATION_H
#define TENON_RUNTIME_GENERATION_H

#include "runtime/runtime.h"

/* A sequence under construction: tokens (start first) and their log probabilities, [max_length] each. */
typedef struct GenSequence {
    int32_t *tokens;
    float *log_probs;
    int32_t *lanes; /* [positions]: where each position's key and value are */
    uint32_t n;
    float score;
    bool finished;
} GenSequence;

typedef struct GenCandidate {
    float score;
    uint32_t beam;
    int32_t token;
} GenCandidate;

typedef struct GenLine {
    GenSequence *running;  /* [beams] */
    GenSequence *next;     /* [beams]: being made from running */
    GenSequence *done;     /* [beams]: finished, best first */
    uint32_t n_done, lane; /* first lane of the line */
    bool active;
} GenLine;

struct RtGeneration {
    const RtGenerator *g;
    uint32_t lines, beams, max_length, min_new, positions;
    float length_penalty;
    uint32_t early;
    uint32_t n_keep; /* candidates a line: (stop tokens + 1) * beams, at least 2 * beams */
    /* memory of the call; grows */
    RtBuffer block;
    GenLine *line;
    GenSequence **row;  /* [rows]: the sequence of each active row */
    uint32_t *row_line; /* [rows] */
    uint32_t n_rows;
    int32_t *where, *lanes, *cross_lanes;
    int64_t *tokens, *position; /* as int64, or seen as int32 */
    int32_t length, cross_length;
    float *scores;      /* [rows, V]: logits, then what processors made of them */
    float *log_probs;   /* [rows, V] */
    GenCandidate *best; /* [rows, n_keep] */
    TnTensor *inputs;   /* of the decoder */
    int64_t *preset;    /* [n_symbols] */
    uint8_t *known;
    uint8_t *on_device; /* [inputs of the encoder]: all 1 when the caller's tensors are memory of the device, else all 0 */
    uint8_t *wanted; /* [outputs of the decoder]: which one comes from a device */
    const TnKernel *log_softmax;
    RtBuffer scratch;
};

/* Tokens fed so far are `at`; runs the decoder on the last token of every row and leaves log_probs (and logits in scores) filled. */
TnStatus tni_rt_gen_step(TnContext *ctx, struct RtGeneration *s, uint32_t at, TnError *err);
/* Binds the decoder of a device to all rows on the start token, and brings its inputs there. */
TnStatus tni_rt_gen_begin(TnContext *ctx, struct RtGeneration *s, RtFrame *f, TnError *err);
/* Rules on the scores of one row (logits for greedy, log probabilities for beams): repetition, n-grams, minimum length, forced tokens. */
void tni_rt_gen_rules(const struct RtGeneration *s, const GenSequence *q, float *scores);
bool tni_rt_gen_is_stop(const struct RtGeneration *s, int32_t token);
void tni_rt_gen_copy(const struct RtGeneration *s, GenSequence *to, const GenSequence *from);
void tni_rt_gen_push(GenSequence *q, int32_t token, float log_prob);

TnStatus tni_rt_greedy(TnContext *ctx, struct RtGeneration *s, TnError *err);
TnStatus tni_rt_beams(TnContext *ctx, struct RtGeneration *s, TnError *err);

#endif
