// Product of a few rows with a matrix on the CPU, the twin of negkernel/ops/skinny/reference.py.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

// All tensors are contiguous float32 on the CPU. Each output sums over k in one fixed order, in
// groups of eight and parts of some hundred, so that results do not depend on the number of
// threads.
struct SkinnyArgs {
  const float* y;       // [M, K], a few rows
  const float* weight;  // [K, N]
  float* out;           // [M, N], written
  std::int64_t M, K, N;
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void skinny(const SkinnyArgs& args);)

}  // namespace negkernel
