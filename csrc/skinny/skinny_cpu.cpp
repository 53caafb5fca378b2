#include "skinny/skinny_cpu.h"

#include <algorithm>

#include "common/buffer.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

constexpr std::int64_t kDepth = 8;       // rows of the matrix taken at once: streams to prefetch
constexpr std::int64_t kRows = 4;        // outputs per element read, as many as registers hold
constexpr std::int64_t kColumns = 1024;  // kDepth rows of so many columns stay in the L1 cache
constexpr std::int64_t kLine = 16;       // floats of a cache line
// Terms of one partial sum. A vocabulary of 50,000 summed in sequence rounds 100 times worse than
// in about its root of parts, each as long.
constexpr std::int64_t kPart = 256;

// Outputs of some columns: `sum` [M, kColumns] of the part at hand, then added to `out`.
struct Columns {
  std::int64_t first, last;
  float* sum;
};

// sum[m, j] += sum over k of y[m, k] weight[k, j] for M rows and `depth` rows of the matrix.
template <int M, int depth>
void add_rows(const SkinnyArgs& a, std::int64_t row, std::int64_t k, const Columns& at) {
  float y[M][depth];
  for (int m = 0; m < M; ++m) {
    for (int i = 0; i < depth; ++i) y[m][i] = a.y[(row + m) * a.K + k + i];
  }
  const float* __restrict w = a.weight + k * a.N + at.first;
  float* __restrict out = at.sum + row * kColumns;
#pragma omp simd
  for (std::int64_t j = 0; j < at.last - at.first; ++j) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      float sum = y[m][0] * w[j];
#pragma GCC unroll 8
      for (int i = 1; i < depth; ++i) sum += y[m][i] * w[i * a.N + j];
      out[m * kColumns + j] += sum;
    }
  }
}

// The same for all rows: after the first kRows of them the matrix comes from the cache.
template <int depth>
void add_all_rows(const SkinnyArgs& a, std::int64_t k, const Columns& at) {
  std::int64_t row = 0;
  for (; row + kRows <= a.M; row += kRows) add_rows<kRows, depth>(a, row, k, at);
  switch (a.M - row) {
    case 1:
      return add_rows<1, depth>(a, row, k, at);
    case 2:
      return add_rows<2, depth>(a, row, k, at);
    case 3:
      return add_rows<3, depth>(a, row, k, at);
  }
}

// Adds one part, rows `k` to `end` of the matrix, to the outputs.
void add_part(const SkinnyArgs& a, std::int64_t k, std::int64_t end, const Columns& at) {
  std::fill(at.sum, at.sum + a.M * kColumns, 0.0f);
  for (; k + kDepth <= end; k += kDepth) add_all_rows<kDepth>(a, k, at);
  for (; k < end; ++k) add_all_rows<1>(a, k, at);
  for (std::int64_t m = 0; m < a.M; ++m) {
    float* __restrict out = a.out + m * a.N + at.first;
    const float* __restrict sum = at.sum + m * kColumns;
    for (std::int64_t j = 0; j < at.last - at.first; ++j) out[j] += sum[j];
  }
}

}  // namespace

void skinny(const SkinnyArgs& a) {
  // Columns are dealt out in equal shares of whole cache lines.
  const std::int64_t share = (a.N / a.num_threads / kLine + 1) * kLine;
  const std::int64_t block = std::min(share, kColumns);
#pragma omp parallel num_threads(a.num_threads)
  {
    Buffer sum;
#pragma omp for schedule(static)
    for (std::int64_t first = 0; first < a.N; first += block) {
      const Columns at{first, std::min(first + block, a.N), sum.reserve(a.M * kColumns)};
      for (std::int64_t m = 0; m < a.M; ++m) {
        std::fill(a.out + m * a.N + at.first, a.out + m * a.N + at.last, 0.0f);
      }
      for (std::int64_t k = 0; k < a.K; k += kPart) {
        add_part(a, k, std::min(k + kPart, a.K), at);
      }
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
