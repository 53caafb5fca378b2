// The two matrix products of attention for kRows query vectors that share keys and values.
//
// They are small (a prompt's tokens by a head's size) and their operands sit in the nearest caches,
// so a register tile of kRows x 2 vectors is all the blocking they need: enough sums under way to
// keep the multipliers busy, and more multiplications than loads.
#pragma once

#include "common/vec.h"

namespace negkernel::NEGKERNEL_ISA {

constexpr int kRows = kLanes == 16 ? 8 : 4;  // AVX-512 has twice the registers

// out[m, j] = sum_i a[m][i] * b[i, j] for `vectors` vectors of columns from `j` on.
template <int vectors>
inline void product_columns(const float* const* a, const float* b, std::int64_t depth,
                            std::int64_t n, std::int64_t j, float* out) {
  Vec sum[kRows][vectors] = {};
  for (std::int64_t i = 0; i < depth; ++i) {
    Vec column[vectors];
    for (int v = 0; v < vectors; ++v) column[v] = load(b + i * n + j + v * kLanes);
    for (int m = 0; m < kRows; ++m) {
      for (int v = 0; v < vectors; ++v) sum[m][v] += a[m][i] * column[v];
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < vectors; ++v) store(out + m * n + j + v * kLanes, sum[m][v]);
  }
}

// out[m, j] = sum_i a[m][i] * b[i, j] for j < n: a is [kRows, depth] by row address, b [depth, n]
// and out [kRows, n] are packed with n a multiple of kLanes.
inline void product(const float* const* a, const float* b, std::int64_t depth, std::int64_t n,
                    float* out) {
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) product_columns<2>(a, b, depth, n, j, out);
  if (j < n) product_columns<1>(a, b, depth, n, j, out);
}

}  // namespace negkernel::NEGKERNEL_ISA
