#include "mlp/mlp_cpu.h"

#include "common/buffer.h"
#include "mlp/activation.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

// One row: dh = dact * (up + dup) + act(gate) * dup, or dact of up where there is no gate.
template <class Act, bool gated>
void mlp_row(const MlpArgs& a, std::int64_t row, const float* value, const float* f,
             const float* g) {
  const std::int64_t base = a.row_prompt[row] * a.I;
  const float* __restrict up = a.up + base;
  const float* __restrict x = gated ? a.gate + base : up;
  const float* __restrict dup = a.dup + row * a.I;
  const float* __restrict step = gated ? a.dgate + row * a.I : dup;
  float* __restrict dh = a.dh + row * a.I;
#pragma omp simd
  for (std::int64_t i = 0; i < a.I; ++i) {
    const float dact = Act::difference(x[i], step[i], Base{value[i], f[i], g[i]});
    dh[i] = gated ? dact * (up[i] + dup[i]) + value[i] * dup[i] : dact;
  }
}

template <class Act, bool gated>
void mlp_rows(const MlpArgs& a) {
#pragma omp parallel num_threads(a.num_threads)
  {
    // Rows come sorted by prompt, so a thread prepares each base of its share once.
    Buffer scratch;
    float* value = scratch.reserve(3 * a.I);
    float *f = value + a.I, *g = f + a.I;
    std::int64_t prepared = -1;
#pragma omp for schedule(static)
    for (std::int64_t row = 0; row < a.R; ++row) {
      if (a.row_prompt[row] != prepared) {
        prepared = a.row_prompt[row];
        const float* x = (gated ? a.gate : a.up) + prepared * a.I;
#pragma omp simd
        for (std::int64_t i = 0; i < a.I; ++i) {
          const Base base = Act::prepare(x[i]);
          value[i] = base.value, f[i] = base.f, g[i] = base.g;
        }
      }
      mlp_row<Act, gated>(a, row, value, f, g);
    }
  }
}

template <class Act>
void mlp_activation(const MlpArgs& a) {
  a.gate ? mlp_rows<Act, true>(a) : mlp_rows<Act, false>(a);
}

}  // namespace

void mlp(const MlpArgs& a) {
  switch (a.activation) {
    case Activation::silu:
      return mlp_activation<Silu>(a);
    case Activation::gelu:
      return mlp_activation<Gelu>(a);
    case Activation::gelu_tanh:
      return mlp_activation<GeluTanh>(a);
    case Activation::relu:
      return mlp_activation<Relu>(a);
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
