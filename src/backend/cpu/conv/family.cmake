# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(conv conv/shape.c conv/conv_gemm.c conv/conv_dw.c conv/conv_transpose.c)
