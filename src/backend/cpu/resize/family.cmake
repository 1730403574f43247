# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(resize resize/supports.c)
