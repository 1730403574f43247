# SPDX-License-Identifier: Apache-2.0
# Moves of memory: the same on every ISA.
target_sources(tn_cpu PRIVATE gather/gather.c gather/scatter.c)
