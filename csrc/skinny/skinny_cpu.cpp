#include "skinny/skinny_cpu.h"

#include <algorithm>

namespace negkernel::NEGKERNEL_ISA {
namespace {

constexpr std::int64_t kDepth = 8;       // rows of the matrix taken at once: streams to prefetch
constexpr std::int64_t kRows = 4;        // outputs per element read, as many as registers hold
constexpr std::int64_t kColumns = 1024;  // kDepth rows of so many columns stay in the L1 cache
constexpr std::int64_t kLine = 16;       // floats of a cache line

// out[m, j] += sum over k of y[m, k] weight[k, j] for M rows and `depth` rows of the matrix.
template <int M, int depth>
void add_rows(const SkinnyArgs& a, std::int64_t row, std::int64_t k, std::int64_t first,
              std::int64_t last) {
  float y[M][depth];
  for (int m = 0; m < M; ++m) {
    for (int i = 0; i < depth; ++i) y[m][i] = a.y[(row + m) * a.K + k + i];
  }
  const float* __restrict w = a.weight + k * a.N;
  float* __restrict out = a.out + row * a.N;
#pragma omp simd
  for (std::int64_t j = first; j < last; ++j) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      float sum = out[m * a.N + j];
#pragma GCC unroll 8
      for (int i = 0; i < depth; ++i) sum += y[m][i] * w[i * a.N + j];
      out[m * a.N + j] = sum;
    }
  }
}

// The same for all rows: after the first kRows of them the matrix comes from the cache.
template <int depth>
void add_all_rows(const SkinnyArgs& a, std::int64_t k, std::int64_t first, std::int64_t last) {
  std::int64_t row = 0;
  for (; row + kRows <= a.M; row += kRows) add_rows<kRows, depth>(a, row, k, first, last);
  switch (a.M - row) {
    case 1:
      return add_rows<1, depth>(a, row, k, first, last);
    case 2:
      return add_rows<2, depth>(a, row, k, first, last);
    case 3:
      return add_rows<3, depth>(a, row, k, first, last);
  }
}

}  // namespace

void skinny(const SkinnyArgs& a) {
  // Columns are dealt out in equal shares of whole cache lines.
  const std::int64_t share = (a.N / a.num_threads / kLine + 1) * kLine;
  const std::int64_t block = std::min(share, kColumns);
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (std::int64_t first = 0; first < a.N; first += block) {
    const std::int64_t last = std::min(first + block, a.N);
    for (std::int64_t m = 0; m < a.M; ++m) {
      std::fill(a.out + m * a.N + first, a.out + m * a.N + last, 0.0f);
    }
    std::int64_t k = 0;
    for (; k + kDepth <= a.K; k += kDepth) add_all_rows<kDepth>(a, k, first, last);
    for (; k < a.K; ++k) add_all_rows<1>(a, k, first, last);
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
