# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(norm norm/norm.c norm/rows.cu norm/groups.cu)
