// Delta of the MLP's elementwise part on the CPU, the twin of negkernel/ops/mlp/reference.py.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

enum class Activation { silu, gelu, gelu_tanh, relu };

// All tensors are contiguous float32 on the CPU. Every row is computed alone, so that results do
// not depend on the number of threads.
struct MlpArgs {
  const float* gate;               // [P, I], null for an ungated MLP
  const float* up;                 // [P, I]
  const float* dgate;              // [R, I], null where gate is
  const float* dup;                // [R, I]
  const std::int64_t* row_prompt;  // [R], each in [0, P)
  float* dh;                       // [R, I], written
  std::int64_t P, R, I;
  Activation activation;
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void mlp(const MlpArgs& args);)

}  // namespace negkernel
