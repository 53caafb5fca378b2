// Last-token delta attention on an NVIDIA GPU, the twin of negkernel/ops/attention/kernel.py.
#pragma once

#include <cstdint>

namespace negkernel::cuda {

// All tensors are contiguous float32 on the current device. `score` to `o` are scratch that every
// call fills: what all rows of a prompt share.
struct AttentionArgs {
  const float *q, *k, *v;            // [P, Hq, D], [P, Hkv, D], [P, Hkv, D]
  const float *dq, *dk, *dv;         // [R, Hq, D], [R, Hkv, D], [R, Hkv, D]
  const float *prefix_k, *prefix_v;  // [T, Hkv, D]
  const std::int64_t* prefix_start;  // [P + 1], ascending in [0, T]
  const std::int64_t* row_prompt;    // [R], ascending in [0, P)
  float* score;                      // [Hq, T] base scores of the prefix, scaled, not capped
  float *score_self, *log_sum;       // [P, Hq] base score of the token itself, log-sum-exp of all
  float* o;                          // [P, Hq, D] base output
  float* dout;                       // [R, Hq, D], written
  std::int64_t P, R, T;
  int Hq, Hkv, D;
  float scale;
  float softcap;  // 0 for none
};

// Enqueue on `stream`, a cudaStream_t, and return. Throws std::invalid_argument unless D is 64 or
// 128, std::runtime_error where a launch fails.
void attention(const AttentionArgs& args, std::uintptr_t stream);

}  // namespace negkernel::cuda
