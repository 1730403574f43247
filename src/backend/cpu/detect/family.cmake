# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(detect detect/roi.c detect/nms.c)
