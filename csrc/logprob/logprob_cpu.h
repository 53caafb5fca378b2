// One vocabulary tile of the delta log-prob on the CPU; the GEMM before it is torch's. The twin of
// the loop body in negkernel/ops/logprob/reference.py.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

// All tensors are contiguous on the CPU, float32 unless stated. A tile holds the logit differences
// of rows [0, R) at vocabulary entries [start, start + width). Sums over a tile are float32 over
// vector lanes, sums over tiles float64. Every row is computed alone.
struct LogprobArgs {
  const float* dz;                 // [R, width]
  const float* base_logprob;       // [P, V]
  const std::int64_t* targets;     // [P, K]
  const std::int64_t* row_prompt;  // [R], each in [0, P)
  double* sums;                    // [R, 3]: E = sum p expm1(dz); M, Z with sum p exp(dz) = Z e^M
  float* dz_target;                // [R, K], written where a target lies in the tile
  std::int64_t P, R, V, K, start, width;
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void logprob(const LogprobArgs& args);)

}  // namespace negkernel
