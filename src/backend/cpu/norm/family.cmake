# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(norm norm/supports.c)
