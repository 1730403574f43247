/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pipelines' types share (picture.c). Python's side, tenon/pipelines, loads pictures, cuts batches and makes the objects that users see. */
#ifndef TENON_PYTHON_PIPE_H
#define TENON_PYTHON_PIPE_H

#include "pipelines/image.h"
#include "python/src/core.h"

/* Begins every type of a pipeline. busy: in a call without the GIL. */
typedef struct CorePipe {
    PyObject_HEAD
    CorePlan *plan;
    unsigned generation;
    bool busy;
} CorePipe;
/* A new object of type that holds plan; NULL with an exception. */
void *core_pipe_new(PyTypeObject *type, PyObject *plan);
/* The end of a dealloc. */
void core_pipe_free(PyObject *self);
/* Whether the C object is there in this process. */
static inline bool core_pipe_alive(const CorePipe *p) { return p->generation == core_generation; }
/* False with an exception: in use, or of a process that forked. */
bool core_pipe_ready(const CorePipe *p);

/* An array uint8 [height, width, 3] as a picture that shares its memory; release t in any case. */
int core_image_take(PyObject *o, CoreTensor *t, TnImage *image);
#define CORE_MAX_IMAGES 4096
typedef struct CoreImages {
    CoreTensor *tensors;
    TnImage *items; /* [n] */
    uint32_t n, taken;
} CoreImages;
/* From a list of arrays; release in any case. */
int core_images_take(PyObject *list, CoreImages *out);
void core_images_release(CoreImages *images);
/* A new array with a picture, which is freed; or the exception of err. */
PyObject *core_image_array(TnStatus st, TnImage *image, const TnError *err, const char *file);
/* A new array with a copy of data. */
PyObject *core_array_of(TnDtype dtype, int32_t rank, const int64_t *dims, const void *data);
/* A host tensor of this type and rank; release t in any case. */
int core_tensor_want(PyObject *o, const char *name, TnDtype dtype, int32_t rank, CoreTensor *t);
/* Text of a file, which need not be UTF-8; None for NULL. */
PyObject *core_string(const char *s);
/* Takes the references list and item; NULL (list released) when anything is missing. */
PyObject *core_list_append(PyObject *list, PyObject *item);

#endif
