# SPDX-License-Identifier: Apache-2.0
tn_cpu_family(integer integer/integer.c integer/conv.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    tn_isa(tn_cpu vnni integer/vnni.c)
endif()
