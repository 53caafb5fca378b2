// Rows and weights on their way to the register tile: rounded to bfloat16, in pairs of k, padded
// with zeros on both sides, or an infinity would meet the other's zero.
#pragma once

#include "linear/tile.h"

namespace negkernel::NEGKERNEL_ISA {

constexpr int kBlock = 2 * kLanes;     // values of k packed at once
constexpr std::int64_t kDepth = 1024;  // values of k a pass
// One column's pairs, and a line more so that columns do not meet in one set of the L1 cache.
constexpr int kColumnStep = kDepth / 2 + kLanes;
constexpr std::int64_t kTile = kDepth / 2 * kLanes;  // pairs of a tile's weights, either layout
static_assert(kColumns * kColumnStep <= kTile);

static inline std::int64_t parts(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit;
}

static inline __mmask16 first_lanes(std::int64_t n) {
  return n >= kLanes ? (__mmask16)0xffff : n <= 0 ? (__mmask16)0 : (__mmask16)((1u << n) - 1);
}

// kBlock consecutive values of which `n` exist, as kLanes pairs.
static inline __m512i pairs_of(const float* from, std::int64_t n) {
  const __m512 low = _mm512_maskz_loadu_ps(first_lanes(n), from);
  const __m512 high = _mm512_maskz_loadu_ps(first_lanes(n - kLanes), from + kLanes);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static inline __m512i pairs_of(const std::uint16_t* from, std::int64_t n) {
  const __mmask32 some = n >= kBlock ? ~0u : (1u << n) - 1;
  return _mm512_maskz_loadu_epi16(some, from);
}

// One k of kLanes columns, in the lower half.
static inline __m512i values_of(const float* from, __mmask16 columns) {
  return _mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(columns, from)));
}

static inline __m512i values_of(const std::uint16_t* from, __mmask16 columns) {
  return _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(columns, from));
}

// `rows` rows of x become a panel [pair, row] of `width` rows, kLanes or twice as many.
static inline void pack_rows(const float* x, std::int64_t stride, std::int64_t rows,
                             std::int64_t depth, std::int64_t width, Pair* panel) {
  for (std::int64_t k = 0; k < depth; k += kBlock) {
    for (std::int64_t first = 0; first < width; first += kLanes) {
      __m512i block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        block[i] = first + i < rows ? pairs_of(x + (first + i) * stride + k, depth - k)
                                    : _mm512_setzero_si512();
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        _mm512_store_si512(panel + (k / 2 + i) * width + first, block[i]);
      }
    }
  }
}

// One tile's columns, of which `columns` exist. A matrix [N, K] keeps its layout, [column, pair]:
// the product transposes nothing but the few rows of x.
template <class Weight>
static inline void pack_columns(const Weight* weight, std::int64_t stride, std::int64_t columns,
                                std::int64_t depth, Pair* to) {
  const auto pack = [&](std::int64_t c, std::int64_t k) {
    _mm512_store_si512(
        to + c * kColumnStep + k / 2,
        c < columns ? pairs_of(weight + c * stride + k, depth - k) : _mm512_setzero_si512());
  };
  if (depth == stride) {  // whole rows are one stream
    for (std::int64_t c = 0; c < kColumns; ++c) {
      for (std::int64_t k = 0; k < depth; k += kBlock) pack(c, k);
    }
  } else {  // parts of rows are read side by side, or each would wait for its first lines
    for (std::int64_t k = 0; k < depth; k += kBlock) {
      for (std::int64_t c = 0; c < kColumns; ++c) pack(c, k);
    }
  }
}

// The same from a matrix [K, N], which becomes [pair, column].
template <class Weight>
static inline void pack_transposed(const Weight* weight, std::int64_t stride, std::int64_t columns,
                                   std::int64_t depth, Pair* to) {
  const __mmask16 some = first_lanes(columns), none = 0;
  // Values 0, 32, 1, 33, ...: those of the even row and, from 32 on, those of the odd one.
  const __m512i alternating =
      _mm512_add_epi32(_mm512_mullo_epi32(lane_index(), _mm512_set1_epi32(0x10001)),
                       _mm512_set1_epi32(kBlock << 16));
  for (std::int64_t k = 0; k < parts(depth, kBlock) * kBlock; k += 2) {
    const __m512i even = values_of(weight + k * stride, k < depth ? some : none);
    const __m512i odd = values_of(weight + (k + 1) * stride, k + 1 < depth ? some : none);
    _mm512_store_si512(to + k / 2 * kLanes, _mm512_permutex2var_epi16(even, alternating, odd));
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
