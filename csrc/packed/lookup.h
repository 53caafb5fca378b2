// Tables of up to 256 bytes in vector registers: looks up a whole vector of codes at once.
//
// A byte shuffle looks up 16 entries and gives 0 where an index has its top bit set. Taking 16 t
// off the codes and adding 0x70 with saturation leaves the low half of a byte for the codes of the
// t-th sixteen entries and sets the top bit of all others, so the parts of a table just add up.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace negkernel::NEGKERNEL_ISA {

#if defined(__AVX512BW__)
using Bytes = __m512i;
static inline Bytes load_bytes(const void* from) { return _mm512_loadu_si512(from); }
static inline void store_bytes(void* to, Bytes v) { _mm512_storeu_si512(to, v); }
static inline Bytes all(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
static inline Bytes sixteen(const std::int8_t* from) {
  return _mm512_maskz_broadcast_i32x4(-1, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
static inline Bytes add(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
static inline Bytes subtract(Bytes a, Bytes b) { return _mm512_sub_epi8(a, b); }
static inline Bytes saturate(Bytes a, Bytes b) { return _mm512_adds_epu8(a, b); }
static inline Bytes shuffle(Bytes table, Bytes index) { return _mm512_shuffle_epi8(table, index); }
#elif defined(__AVX2__)
using Bytes = __m256i;
static inline Bytes load_bytes(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
static inline void store_bytes(void* to, Bytes v) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), v);
}
static inline Bytes all(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
static inline Bytes sixteen(const std::int8_t* from) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
static inline Bytes add(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
static inline Bytes subtract(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
static inline Bytes saturate(Bytes a, Bytes b) { return _mm256_adds_epu8(a, b); }
static inline Bytes shuffle(Bytes table, Bytes index) { return _mm256_shuffle_epi8(table, index); }
#endif

// sum[n] += table[code[n]] in bytes that must not overflow; `table` has 16 * Parts entries and is
// 0 where it was filled up. Codes beyond it add 0.
template <int Parts>
static inline void add_looked_up(const std::uint8_t* code, const std::int8_t* table,
                                 std::int8_t* sum, std::int64_t count) {
  std::int64_t n = 0;
#if defined(__AVX2__)
  const Bytes next = all(16), floor = all(0x70);
  Bytes part[Parts];
  for (int t = 0; t < Parts; ++t) part[t] = sixteen(table + 16 * t);
  for (; n + static_cast<std::int64_t>(sizeof(Bytes)) <= count; n += sizeof(Bytes)) {
    Bytes index = load_bytes(code + n), total = load_bytes(sum + n);
    for (int t = 0; t < Parts; ++t) {
      total = add(total, shuffle(part[t], saturate(index, floor)));
      index = subtract(index, next);
    }
    store_bytes(sum + n, total);
  }
#endif
  for (; n < count; ++n) {
    if (code[n] < 16 * Parts) sum[n] = static_cast<std::int8_t>(sum[n] + table[code[n]]);
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
