# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(resize resize/resize.cu)
