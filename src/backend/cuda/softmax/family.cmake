# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(softmax softmax/softmax.c softmax/softmax.cu)
