// One vocabulary tile of the delta log-prob on an NVIDIA GPU; the GEMM before it is cuBLAS's. The
// twin of csrc/logprob/logprob_cpu.h.
#pragma once

#include <cstdint>

namespace negkernel::cuda {

// All tensors are contiguous float32 on the current device unless stated. A tile holds the head's
// differences of rows [0, R) at vocabulary entries [start, start + width). Sums over a tile are
// float32, each row's by one block in a fixed order; sums over tiles are float64.
struct LogprobArgs {
  const float* dz;                 // [R, width], before scale and soft-cap
  const float* base_logprob;       // [P, V]
  const float* base_logits;        // [P, V], before scale and soft-cap; unused without a soft-cap
  const std::int64_t* targets;     // [P, K]
  const std::int64_t* row_prompt;  // [R], each in [0, P)
  double* sums;                    // [R, 3]: E = sum p expm1(dz); M, Z with sum p exp(dz) = Z e^M
  float* dz_target;                // [R, K], written where a target lies in the tile
  std::int64_t R, V, K, start, width;
  float scale;
  float softcap;  // 0 for none
};

// Enqueue on `stream`, a cudaStream_t, and return. Throws std::runtime_error where the launch
// fails.
void logprob(const LogprobArgs& args, std::uintptr_t stream);

}  // namespace negkernel::cuda
