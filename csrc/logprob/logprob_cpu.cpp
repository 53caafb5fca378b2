#include "logprob/logprob_cpu.h"

#include <cmath>

#include "common/buffer.h"
#include "common/vector_math.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

// Within these limits p exp(dz) neither overflows nor loses the tile's largest terms to underflow,
// and one exponential serves both E and Z.
constexpr float kLargestStep = 16.0f;
constexpr float kLeastLogprob = -60.0f;

struct Tile {
  float E, Z, largest_step;
};

inline Tile plain_sums(const float* __restrict dz, const float* __restrict p, std::int64_t width) {
  float E = 0.0f, Z = 0.0f, largest = 0.0f;
#pragma omp simd reduction(+ : E, Z) reduction(max : largest)
  for (std::int64_t j = 0; j < width; ++j) {
    const Exponential e = exponential(dz[j]);
    E += p[j] * e.expm1;
    Z += p[j] * e.exp;
    largest = absolute(dz[j]) > largest ? absolute(dz[j]) : largest;
  }
  return {E, Z, largest};
}

// Adds Z e^M to the running sum, kept relative to the larger of the two maxima.
inline void add(double M, double Z, double* running) {
  if (M > running[0]) {
    running[1] = running[1] * std::exp(running[0] - M) + Z;
    running[0] = M;
  } else {
    running[1] += Z * std::exp(M - running[0]);
  }
}

// The tile's share of Z relative to its own largest term.
inline void add_safe(const float* __restrict dz, const float* __restrict logp, std::int64_t width,
                     double* running) {
  float top = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : top)
  for (std::int64_t j = 0; j < width; ++j) {
    const float x = logp[j] + dz[j];
    top = x > top ? x : top;
  }
  if (top == -INFINITY) top = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < width; ++j) sum += exponential(logp[j] + dz[j] - top).exp;
  add(top, sum, running);
}

}  // namespace

void logprob(const LogprobArgs& a) {
#pragma omp parallel num_threads(a.num_threads)
  {
    // Rows come sorted by prompt, so a thread takes the exponentials of each base once.
    Buffer scratch;
    float* p = scratch.reserve(a.width);
    float top_logprob = 0.0f;
    std::int64_t prepared = -1;
#pragma omp for schedule(static)
    for (std::int64_t row = 0; row < a.R; ++row) {
      const std::int64_t prompt = a.row_prompt[row];
      const float* logp = a.base_logprob + prompt * a.V + a.start;
      if (prompt != prepared) {
        float top = -INFINITY;
#pragma omp simd reduction(max : top)
        for (std::int64_t j = 0; j < a.width; ++j) {
          p[j] = exponential(logp[j]).exp;
          top = logp[j] > top ? logp[j] : top;
        }
        top_logprob = top;
        prepared = prompt;
      }
      const float* dz = a.dz + row * a.width;
      double* sums = a.sums + row * 3;
      const Tile tile = plain_sums(dz, p, a.width);
      sums[0] += tile.E;
      if (tile.largest_step <= kLargestStep && top_logprob >= kLeastLogprob) {
        add(0.0, tile.Z, sums + 1);
      } else {
        add_safe(dz, logp, a.width, sums + 1);
      }
      for (std::int64_t k = 0; k < a.K; ++k) {
        const std::int64_t column = a.targets[prompt * a.K + k] - a.start;
        if (column >= 0 && column < a.width) a.dz_target[row * a.K + k] = dz[column];
      }
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
