# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(recurrent recurrent/recurrent.c)
