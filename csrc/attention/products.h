// The two matrix products of attention for up to kRows query vectors that share keys and values.
//
// They are small (a prompt's tokens by a head's size) and their operands sit in the nearest caches,
// so a register tile of kRows x 2 vectors is all the blocking they need.
#pragma once

#include "common/vec.h"

namespace negkernel::NEGKERNEL_ISA {

constexpr int kRows = 4;
constexpr int kTile = 2 * kLanes;

// out[m, j] = sum_i a[m][i] * b[i, j] for j < n: a is [rows, depth] by row address, b [depth, n]
// and out [rows, n] are packed with n a multiple of kTile.
template <int rows>
inline void product(const float* const* a, const float* b, std::int64_t depth, std::int64_t n,
                    float* out) {
  for (std::int64_t j = 0; j < n; j += kTile) {
    Vec sum[rows][2] = {};
    for (std::int64_t i = 0; i < depth; ++i) {
      const Vec b0 = load(b + i * n + j), b1 = load(b + i * n + j + kLanes);
      for (int m = 0; m < rows; ++m) {
        sum[m][0] += a[m][i] * b0;
        sum[m][1] += a[m][i] * b1;
      }
    }
    for (int m = 0; m < rows; ++m) {
      store(out + m * n + j, sum[m][0]);
      store(out + m * n + j + kLanes, sum[m][1]);
    }
  }
}

inline void product(int rows, const float* const* a, const float* b, std::int64_t depth,
                    std::int64_t n, float* out) {
  static_assert(kRows == 4, "one case per number of rows");
  switch (rows) {
    case 1:
      return product<1>(a, b, depth, n, out);
    case 2:
      return product<2>(a, b, depth, n, out);
    case 3:
      return product<3>(a, b, depth, n, out);
    default:
      return product<4>(a, b, depth, n, out);
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
