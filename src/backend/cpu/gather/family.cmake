# SPDX-License-Identifier: Apache-2.0
# Gathers and scatters move memory: the same on every ISA. scalar.c, avx2.c and avx512.c have relative_bias.
tn_cpu_family(gather gather/gather.c gather/scatter.c gather/relative.c)
