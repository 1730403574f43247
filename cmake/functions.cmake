# SPDX-License-Identifier: Apache-2.0

# tn_folder(NAME SOURCES ... [DEPS ...]): one static library tn_NAME a folder; DEPS are lower folders. The link graph is the include graph.
function(tn_folder name)
    cmake_parse_arguments(F "" "" "SOURCES;DEPS" ${ARGN})
    add_library(tn_${name} STATIC ${F_SOURCES})
    target_include_directories(tn_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
    foreach(dep ${F_DEPS})
        target_link_libraries(tn_${name} PUBLIC tn_${dep})
    endforeach()
endfunction()

# tn_isa(TARGET ISA FILES...): adds files compiled with the flags of an ISA level (scalar, avx2, avx512).
function(tn_isa target isa)
    set(flags_scalar "")
    set(flags_avx2 -mavx2 -mfma -mf16c -mbmi2)
    set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mavx2 -mfma -mf16c -mbmi2 -mprefer-vector-width=512)
    set(flags_vnni ${flags_avx512} -mavx512vnni)
    target_sources(${target} PRIVATE ${ARGN})
    foreach(file ${ARGN})
        set_source_files_properties(${file} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS "${flags_${isa}}")
    endforeach()
endfunction()

# tn_test(NAME SOURCES ... LIBS ...): a cmocka program registered with ctest.
function(tn_test name)
    cmake_parse_arguments(T "" "" "SOURCES;LIBS" ${ARGN})
    add_executable(test_${name} ${T_SOURCES})
    target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
    target_compile_definitions(test_${name} PRIVATE TN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_link_libraries(test_${name} PRIVATE ${T_LIBS} cmocka m)
    set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()
