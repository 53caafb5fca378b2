// Product of float32 rows with a matrix, on bfloat16 operands: the fastest the processor has, at
// twice the rate of float32, with sums in float32.
#pragma once

#include <cstdint>

namespace negkernel {

// x is rounded to bfloat16 (to nearest, ties to even) on the way into its pack and so is a float32
// weight; a bfloat16 weight is read as it lies. Every output sums over k in one fixed order,
// whatever the other rows, the blocks of rows or the number of threads. The unit's own arithmetic
// holds: two products join their sum at a time, and what is subnormal, read or computed, is zero.
// Infinities and NaN propagate.
struct LinearArgs {
  const float* x;      // [M, K]
  const void* weight;  // [N, K], or [K, N] if `transposed`; float32, or bfloat16 if `half`
  float* out;          // [M, N], written
  std::int64_t M, K, N;
  std::int64_t x_stride, weight_stride;  // elements from one row to the next
  bool transposed, half;
  int num_threads;
};

#ifdef NEGKERNEL_AVX512BF16
namespace avx512bf16 {
void linear(const LinearArgs& args);
}
#endif

}  // namespace negkernel
