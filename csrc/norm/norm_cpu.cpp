#include "norm/norm_cpu.h"

#include <cmath>

#include "common/buffer.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

// Blocks keep the error of a long float32 sum small where the compiler does not vectorise, and with
// it does not split the sum over lanes.
constexpr std::int64_t kBlock = 256;

inline std::int64_t block_end(std::int64_t start, std::int64_t n) {
  return start + kBlock < n ? start + kBlock : n;
}

inline float mean(const float* __restrict x, std::int64_t n) {
  float total = 0.0f;
  for (std::int64_t start = 0; start < n; start += kBlock) {
    const std::int64_t end = block_end(start, n);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = start; i < end; ++i) sum += x[i];
    total += sum;
  }
  return total / n;
}

struct Moments {
  float square;  // mean of (x + d)^2
  float change;  // mean of (x + d)^2 - x^2 = d (2x + d)
};

// The shifted square is taken afresh: adding the change to the base's would cancel for d near -x.
inline Moments moments(const float* __restrict x, const float* __restrict d, float centre,
                       std::int64_t n) {
  float square = 0.0f, change = 0.0f;
  for (std::int64_t start = 0; start < n; start += kBlock) {
    const std::int64_t end = block_end(start, n);
    float block_square = 0.0f, block_change = 0.0f;
#pragma omp simd reduction(+ : block_square, block_change)
    for (std::int64_t i = start; i < end; ++i) {
      const float centred = d[i] - centre, shifted = x[i] + centred;
      block_square += shifted * shifted;
      block_change += centred * (x[i] + shifted);
    }
    square += block_square;
    change += block_change;
  }
  return {square / n, change / n};
}

// 1 / sqrt(mean square + eps) of each base vector, and for LayerNorm the vectors centred.
struct NormBase {
  Buffer s0, centred;
};

void prepare(const NormArgs& a, NormBase& base) {
  base.s0.reserve(a.P * a.heads);
  if (a.layer) base.centred.reserve(a.P * a.heads * a.H);
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (std::int64_t vector = 0; vector < a.P * a.heads; ++vector) {
    const float* x = a.x + vector * a.H;
    if (a.layer) {
      const float centre = mean(x, a.H);
      float* centred = base.centred.data() + vector * a.H;
#pragma omp simd
      for (std::int64_t i = 0; i < a.H; ++i) centred[i] = x[i] - centre;
      x = centred;
    }
    const float square = 0.25f * moments(x, x, 0.0f, a.H).square;  // (x + x)^2 = 4 x^2
    base.s0.data()[vector] = 1.0f / std::sqrt(square + a.eps);
  }
}

// Adds the branch to d where there is one; returns the mean that LayerNorm takes off, else 0.
inline float add_branch(const NormArgs& a, float* __restrict d, const float* __restrict branch) {
  if (branch) {
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) d[i] += branch[i];
  }
  return a.layer ? mean(d, a.H) : 0.0f;
}

// dn = (d s1 + x (s1 - s0)) weight, s1 - s0 = -dm s0^2 s1^2 / (s0 + s1), dm = mean(2 x d + d^2).
inline void norm_vector(const NormArgs& a, const float* __restrict x, const float* __restrict d,
                        float centre, float s0, float* __restrict dn) {
  const Moments m = moments(x, d, centre, a.H);
  const float s1 = 1.0f / std::sqrt(m.square + a.eps);
  const float ds = -m.change * (s0 * s0) * (s1 * s1) / (s0 + s1);
  if (a.weight) {
    const float* __restrict weight = a.weight;
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) dn[i] = ((d[i] - centre) * s1 + x[i] * ds) * weight[i];
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) dn[i] = (d[i] - centre) * s1 + x[i] * ds;
  }
}

}  // namespace

void norm(const NormArgs& a) {
  NormBase base;
  prepare(a, base);
  const float* x = a.layer ? base.centred.data() : a.x;
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (std::int64_t row = 0; row < a.R; ++row) {
    for (std::int64_t head = 0; head < a.heads; ++head) {
      const std::int64_t from = a.row_prompt[row] * a.heads + head;
      const std::int64_t to = (row * a.heads + head) * a.H;
      const float centre = add_branch(a, a.d + to, a.branch ? a.branch + to : nullptr);
      norm_vector(a, x + from * a.H, a.d + to, centre, base.s0.data()[from], a.dn + to);
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
