#include "norm/norm_cpu.h"

#include <cmath>

#include "common/buffer.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

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
    float square = 0.0f;
    if (a.layer) {
      float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < a.H; ++i) sum += x[i];
      const float mean = sum / a.H;
      float* centred = base.centred.data() + vector * a.H;
#pragma omp simd
      for (std::int64_t i = 0; i < a.H; ++i) centred[i] = x[i] - mean;
      x = centred;
    }
#pragma omp simd reduction(+ : square)
    for (std::int64_t i = 0; i < a.H; ++i) square += x[i] * x[i];
    base.s0.data()[vector] = 1.0f / std::sqrt(square / a.H + a.eps);
  }
}

// Adds the branch to d where there is one; returns the mean that LayerNorm takes off, else 0.
inline float add_branch(const NormArgs& a, float* __restrict d, const float* __restrict branch) {
  if (branch) {
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) d[i] += branch[i];
  }
  if (!a.layer) return 0.0f;
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < a.H; ++i) sum += d[i];
  return sum / a.H;
}

// dn = (d s1 + x (s1 - s0)) weight, s1 - s0 = -dm s0^2 s1^2 / (s0 + s1), dm = mean(2 x d + d^2).
inline void norm_vector(const NormArgs& a, const float* __restrict x, const float* __restrict d,
                        float mean, float s0, float* __restrict dn) {
  float difference = 0.0f, square = 0.0f;
#pragma omp simd reduction(+ : difference, square)
  for (std::int64_t i = 0; i < a.H; ++i) {
    const float centred = d[i] - mean, shifted = x[i] + centred;
    difference += centred * (x[i] + shifted);
    square += shifted * shifted;  // taken afresh: m0 + dm cancels where d is close to -x
  }
  const float s1 = 1.0f / std::sqrt(square / a.H + a.eps);
  const float ds = -(difference / a.H) * (s0 * s0) * (s1 * s1) / (s0 + s1);
  if (a.weight) {
    const float* __restrict weight = a.weight;
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) dn[i] = ((d[i] - mean) * s1 + x[i] * ds) * weight[i];
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < a.H; ++i) dn[i] = (d[i] - mean) * s1 + x[i] * ds;
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
      const float mean = add_branch(a, a.d + to, a.branch ? a.branch + to : nullptr);
      norm_vector(a, x + from * a.H, a.d + to, mean, base.s0.data()[from], a.dn + to);
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
