/* SPDX-License-Identifier: Apache-2.0
 *
 * Building plans. Part of libtenon; a program that only runs plans links libtenon_rt and includes tenon/runtime.h alone. */
#ifndef TENON_BUILD_H
#define TENON_BUILD_H

#include "tenon/hooks.h"
#include "tenon/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Start from tn_build_options_default(); new fields come at the end. Strings are read during the call only. */
typedef struct TnBuildOptions {
    uint32_t size;          /* sizeof(TnBuildOptions), set by tn_build_options_default */
    const char *shapes;     /* ranges of symbols, "batch=1:4:8,seq=512" (min:opt:max); NULL: any shape */
    int32_t tune;           /* 1: time the candidate kernels on this machine */
    uint32_t threads;       /* threads for building and tuning; 0: one a core */
    const char *timing_cache; /* file; NULL: none */
    const char *cpu;        /* "scalar", "avx2", "avx512", NULL: what this machine has */
    int32_t reference;      /* 1: reference kernels only */
    const char *stop_after; /* stop the rewrites after this pass; "import": none. NULL: all */
    const char *const *sample_names; /* [n_samples] inputs by name, on which kernels are verified and timed; all or none of the model's */
    const TnTensor *samples;         /* [n_samples]; read during the call only */
    uint32_t n_samples;              /* 0: made up from the opt shapes */
    const TnAllocator *allocator; /* NULL: malloc */
    const TnLog *log;             /* NULL: silent */
    const TnProgress *progress;   /* NULL: none */
    const char *device;      /* "cpu" (NULL too), "cuda" or "cuda:N": where the plan runs; kernels are verified (and timed) there */
    const char *precision;   /* for a GPU: "fp32" (NULL too), "tf32", "fp16" or "bf16". Inputs and outputs keep the model's types; steps that
                                cannot be trusted in the narrow type stay fp32 (tenon explain says which and why) */
    const char *target;      /* "sm_90": build for this GPU architecture even when there is none here; kernels are then chosen by estimate and
                                not verified. NULL: the GPU of `device` */
    int32_t allow_cpu_steps; /* 1: steps without a GPU kernel run on the CPU; 0: they fail the build, which names them */
    const char *buckets;     /* "batch=1:4:16,seq=128:512": sizes of symbols for whose combinations (at most 16) kernels are chosen besides the
                                opt sizes; a run uses those of the smallest that is large enough. NULL: the opt sizes alone */
    uint32_t head_dim;   /* width of an attention head, where a checkpoint file leaves it open (UniFormer: 32 or 64). 0: what the tensors tell */
    uint32_t image_size; /* height and width of pictures, for checkpoint files that leave it open. 0: the architecture's (UniFormer: 224) */
    const char *config;  /* JSON configuration that belongs to a checkpoint file (ViLBERT: bert_base_6layer_6conect.json). NULL: none */
    const char *head;    /* outputs of a checkpoint with several heads, "vision_logit,vil_prediction" (ViLBERT). NULL: the architecture's (vision_logit) */
    const char *attention; /* of a detector's backbone, where a checkpoint file leaves it open: "global", "window" or "hybrid". NULL: the tensors tell */
    float score_threshold; /* of a detector in a checkpoint file: answers need more than this. 0: the official 0.05 */
} TnBuildOptions;

TN_API TnBuildOptions tn_build_options_default(void);

/* model_path: an .onnx file, a folder with a Hugging Face checkpoint, or a file of weights (torch.save's or safetensors) of an official UniFormer or
 * ViLBERT. Writes plan_path atomically: on failure no file is left and an older one stays. Returns any status; err says which node, offset or option. */
TN_API TnStatus tn_build_file(const char *model_path, const char *plan_path, const TnBuildOptions *options, TnError *err);
/* As above into memory: *plan is 4096-byte aligned, from options->allocator; free it with tn_build_free. */
TN_API TnStatus tn_build_memory(const char *model_path, const TnBuildOptions *options, void **plan, size_t *plan_bytes, TnError *err);
TN_API void tn_build_free(const TnBuildOptions *options, void *plan);

/* The graph after the pass `after` ("import", a pass name, NULL = all) as text through fn. */
TN_API TnStatus tn_inspect_model(const char *model_path, const TnBuildOptions *options, const char *after,
                                 void (*fn)(void *ctx, const char *text, size_t n), void *ctx, TnError *err);

/* Runs the model with the reference interpreter on inputs (in the order of the model's inputs); outputs[i].data is freed with
 * tn_build_free. n_outputs must be the model's count (tn_reference_open tells). on_tensor (may be NULL) sees every intermediate tensor by
 * the name that it has in the model. */
typedef struct TnReference TnReference;
TN_API TnStatus tn_reference_open(const char *model_path, const TnBuildOptions *options, TnReference **out, TnError *err);
TN_API void tn_reference_close(TnReference **ref);
TN_API uint32_t tn_reference_input_count(const TnReference *ref);
TN_API const char *tn_reference_input_name(const TnReference *ref, uint32_t i);
TN_API uint32_t tn_reference_output_count(const TnReference *ref);
TN_API const char *tn_reference_output_name(const TnReference *ref, uint32_t i);
TN_API TnStatus tn_reference_run(TnReference *ref, const TnTensor *inputs, TnTensor *outputs,
                                 void (*on_tensor)(void *ctx, const char *name, const TnTensor *t), void *ctx, TnError *err);

#ifdef __cplusplus
}
#endif
#endif
