// Last-token delta attention on the CPU, the twin of negkernel/ops/attention/reference.py.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

// All tensors are contiguous float32 on the CPU. One task owns a block of rows of one prompt and
// one key head; its scratch is that head's keys and values of the prompt and a few rows of scores.
// Results depend neither on the number of threads nor on which rows share a block.
struct AttentionArgs {
  const float *q, *k, *v;            // [P, Hq, D], [P, Hkv, D], [P, Hkv, D]
  const float *dq, *dk, *dv;         // [R, Hq, D], [R, Hkv, D], [R, Hkv, D]
  const float *prefix_k, *prefix_v;  // [T, Hkv, D]
  const std::int64_t* prefix_start;  // [P + 1], ascending in [0, T]
  const std::int64_t* row_prompt;    // [R], ascending in [0, P)
  float* dout;                       // [R, Hq, D], written
  std::int64_t P, R, Hq, Hkv, D;
  float scale;
  float softcap;  // 0 for none
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void attention(const AttentionArgs& args);)

}  // namespace negkernel
