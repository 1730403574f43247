# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(attention attention/attention.c)
