// Counts over packed score orders, one small code a prompt and neuron: the twin of
// negkernel/ops/packed/reference.py. Integers only, so results are the same everywhere.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace negkernel {

// Codes [Q, N], 8 or 16 bits wide, the rows `stride` codes apart. Codes from C on count nothing.
struct Codes {
  const void* data;
  std::int64_t Q, N, stride, C;
  bool wide;
};

struct SumByLabelArgs {
  Codes codes;
  const std::int64_t* labels;  // [Q], each in [0, K)
  const std::int8_t* tables;   // [K, C]
  std::int64_t* total;         // [N], written
  std::int64_t K;
  int num_threads;
};

struct VotesBySizeArgs {
  Codes codes;
  const std::int64_t* neurons;  // [M] in ranking order, each in [0, N)
  const std::int8_t* polarity;  // [M], each -1, 0 or 1
  const std::int8_t* tables;    // [3, C, K], one for each polarity
  const std::int64_t* sizes;    // [S], ascending, at most M
  std::int64_t* votes;          // [Q, S, K], written
  std::int64_t K, S;
  int num_threads;
};

NEGKERNEL_FOR_EACH_ISA(void sum_by_label(const SumByLabelArgs& args);
                       void votes_by_size(const VotesBySizeArgs& args);)

}  // namespace negkernel
