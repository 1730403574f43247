# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(quantize quantize/supports.c)
