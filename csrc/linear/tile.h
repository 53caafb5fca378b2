// The register tile: kColumns outputs of up to 32 rows, summed over one block of k.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace negkernel::NEGKERNEL_ISA {

// A pair is two consecutive k of one row or column: what one lane of vdpbf16ps multiplies.
using Pair = std::uint32_t;

constexpr int kLanes = 16;    // pairs of a vector
constexpr int kColumns = 14;  // outputs a tile: with two vectors of rows, 28 of 32 registers

static inline __m512i lane_index() {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// Lane j of rows[i] becomes lane i of rows[j]: blocks off the diagonal change places, 1 lane wide,
// then 2, 4 and 8.
static inline void transpose(__m512i rows[kLanes]) {
  const __m512i lane = lane_index();
#pragma GCC unroll 4
  for (int width = 1; width < kLanes; width *= 2) {
    // Where each lane comes from: the first row's lanes count from 0, the second's from kLanes.
    const __mmask16 odd = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(width));
    const __m512i first = _mm512_mask_add_epi32(lane, odd, lane, _mm512_set1_epi32(kLanes - width));
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(width));
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & width) continue;
      const __m512i a = rows[i], b = rows[i + width];
      rows[i] = _mm512_permutex2var_epi32(a, first, b);
      rows[i + width] = _mm512_permutex2var_epi32(a, second, b);
    }
  }
}

// Where the tile's outputs go.
struct Corner {
  float* out;
  std::int64_t stride;  // from one row of `out` to the next
  int rows, columns;    // that exist
  bool add;             // to what the earlier blocks of k left
};

// Rows lie along the lanes, so that weights are broadcast and need no transposition: x is
// [pairs, vectors * kLanes], the pair p of column c is weight[c * column_step + p * pair_step].
template <int vectors, int column_step, int pair_step>
static inline void tile(const Pair* x, const Pair* weight, std::int64_t pairs, const Corner& to) {
  __m512 sum[kColumns][vectors];
#pragma GCC unroll 14
  for (int c = 0; c < kColumns; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[c][v] = _mm512_setzero_ps();
  }
  for (std::int64_t p = 0; p < pairs; ++p) {
    __m512bh rows[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) rows[v] = (__m512bh)_mm512_load_si512(x + v * kLanes);
#pragma GCC unroll 14
    for (int c = 0; c < kColumns; ++c) {
      const __m512bh w = (__m512bh)_mm512_set1_epi32((int)weight[c * column_step]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[c][v] = _mm512_dpbf16_ps(sum[c][v], rows[v], w);
    }
    x += vectors * kLanes;
    weight += pair_step;
  }
  const __mmask16 columns = (__mmask16)((1u << to.columns) - 1);
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    __m512i block[kLanes];
#pragma GCC unroll 16
    for (int c = 0; c < kLanes; ++c) {
      block[c] = c < kColumns ? _mm512_castps_si512(sum[c][v]) : _mm512_setzero_si512();
    }
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      const int row = v * kLanes + i;
      if (row >= to.rows) return;
      float* out = to.out + row * to.stride;
      __m512 value = _mm512_castsi512_ps(block[i]);
      if (to.add) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(columns, out));
      _mm512_mask_storeu_ps(out, columns, value);
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
