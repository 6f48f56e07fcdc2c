# gondola_room(NAME [USES room…] [LINKS library…] [PRIVATE_LINKS library…])
#
# Adds a room of the house: the .cpp files of src/NAME, except main.cpp and encoder_plugin.cpp, become the static
# library gondola_NAME. USES lists the rooms it includes (tests/architecture compares the #include lines with the rows
# of docs/architecture.md). A file called *_avx2.cpp, *_avx512vnni.cpp, *_amx.cpp and so on is compiled for that
# instruction set (base/cpu.h) and without the higher ones that the code tests for, whatever CMAKE_CXX_FLAGS allow. It
# is reached only behind a run-time check. A product and a sum are fused into one rounding only where the code says so,
# so that a function gives the same bits wherever it is inlined and whatever it is compiled for.
# GCC 12's -Wrestrict is wrong about std::string's operator+ (its bug 105651). Warnings are errors only at top level,
# since other projects that include this one may use compilers that warn about more.
set(GONDOLA_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wno-restrict)
if(PROJECT_IS_TOP_LEVEL)
  list(APPEND GONDOLA_WARNINGS -Werror)
endif()

function(gondola_room NAME)
  cmake_parse_arguments(ARG "" "" "USES;LINKS;PRIVATE_LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${NAME}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/(main|encoder_plugin)\\.cpp$")
  add_library(gondola_${NAME} STATIC ${sources})
  target_compile_options(gondola_${NAME} PRIVATE ${GONDOLA_WARNINGS} -ffp-contract=off)
  target_include_directories(gondola_${NAME} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  list(TRANSFORM ARG_USES PREPEND gondola_)
  target_link_libraries(gondola_${NAME} PUBLIC ${ARG_USES} ${ARG_LINKS} PRIVATE ${ARG_PRIVATE_LINKS})
  # GCC 12 warns about undefined operands inside its own AVX-512 intrinsics.
  set(common -mavx2 -mfma -mf16c -mno-avxvnni -Wno-maybe-uninitialized -Wno-uninitialized)
  set(avx2 ${common} -mno-avx512f)
  set(avx512 ${common} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mno-avx512vnni -mno-avx512bf16
      -mprefer-vector-width=512)
  set(avx2vnni ${avx2} -mavxvnni)
  set(avx512vnni ${avx512} -mavx512vnni)
  set(avx512bf16 ${avx512vnni} -mavx512bf16)
  set(amx ${avx512bf16} -mamx-tile -mamx-bf16 -mamx-int8)
  foreach(source IN LISTS sources)
    if(source MATCHES "_(avx[0-9a-z]+|amx)\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${${CMAKE_MATCH_1}}")
    endif()
  endforeach()
endfunction()

# gondola_tests(NAME [USES room…] [LINKS library…] [DEPENDS target…]): tests/NAME/*.cpp become the program test_NAME,
# and each of its cases a CTest test.
function(gondola_tests NAME)
  cmake_parse_arguments(ARG "" "" "USES;LINKS;DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${NAME}/*.cpp)
  add_executable(test_${NAME} ${sources})
  # Tests take longer to compile than to run.
  target_compile_options(test_${NAME} PRIVATE ${GONDOLA_WARNINGS} $<$<CONFIG:Release>:-O1> $<$<CONFIG:Sanitized>:-O0>)
  target_compile_definitions(test_${NAME} PRIVATE
    GONDOLA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" GONDOLA_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_include_directories(test_${NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  list(TRANSFORM ARG_USES PREPEND gondola_)
  target_link_libraries(test_${NAME} PRIVATE ${ARG_USES} ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  if(ARG_DEPENDS)
    add_dependencies(test_${NAME} ${ARG_DEPENDS})
  endif()
  gtest_discover_tests(test_${NAME} TEST_PREFIX "${NAME}/" DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600)
endfunction()
