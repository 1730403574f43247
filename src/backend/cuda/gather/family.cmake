# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(gather gather/supports.c gather/gather.cu gather/scatter.cu gather/relative.cu)
