# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(pool pool/supports.c)
