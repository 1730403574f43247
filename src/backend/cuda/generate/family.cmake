# SPDX-License-Identifier: Apache-2.0
# No kernels of operators: the search of a generation (kernel/search.h).
tn_cuda_family(generate generate/search.cu)
