# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(move move/move.c move/slice.c move/fill.c move/supports.c)
