# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(detect detect/supports.c detect/sort.cu detect/topk.cu detect/select.cu detect/unique.cu detect/boxes.cu)
