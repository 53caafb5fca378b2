// The widest float vector of the instruction set being compiled, for the few loops whose
// accumulators must stay in registers; everything else is left to the compiler's vectoriser.
#pragma once

#include <cstdint>
#include <cstring>

namespace negkernel::NEGKERNEL_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

static inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

static inline void store(float* to, Vec v) { std::memcpy(to, &v, sizeof v); }

static inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

}  // namespace negkernel::NEGKERNEL_ISA
