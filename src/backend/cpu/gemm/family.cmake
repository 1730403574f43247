# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(gemm gemm/common.c gemm/gemm.c)
