// Delta RMSNorm and LayerNorm on the CPU, the twin of negkernel/ops/norm/reference.py.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

// All tensors are contiguous float32 on the CPU, sums are float32 in blocks. A norm per
// attention head has `heads` vectors of length H in a row; otherwise heads is 1. Every row is
// computed alone, so that results do not depend on the number of threads.
struct NormArgs {
  const float* x;                  // [P, heads, H]
  float* d;                        // [R, heads, H], becomes d + branch
  const float* branch;             // [R, heads, H] or null
  const float* weight;             // [H] or null
  const std::int64_t* row_prompt;  // [R], each in [0, P)
  float* dn;                       // [R, heads, H], written
  std::int64_t P, R, heads, H;
  float eps;
  bool layer;  // LayerNorm: x and d are centred first
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void norm(const NormArgs& args);)

}  // namespace negkernel
