// One kernel source, several instruction sets.
//
// CMake compiles every *_cpu.cpp once per instruction set with NEGKERNEL_ISA naming the namespace
// its kernels go to; bindings.cpp offers the namespaces that the processor at hand can run. Such a
// source includes nothing but plain headers and the ones here, whose functions live in the same
// namespace: an inline function shared between instruction sets would be merged by the linker, and
// a copy with AVX-512 could end up in the portable kernel.
#pragma once

#ifdef NEGKERNEL_X86
#define NEGKERNEL_FOR_EACH_ISA(declaration) \
  namespace portable {                      \
  declaration                               \
  }                                         \
  namespace avx2 {                          \
  declaration                               \
  }                                         \
  namespace avx512 {                        \
  declaration                               \
  }
#else
#define NEGKERNEL_FOR_EACH_ISA(declaration) \
  namespace portable {                      \
  declaration                               \
  }
#endif
