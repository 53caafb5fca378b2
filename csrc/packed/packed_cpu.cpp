#include "packed/packed_cpu.h"

#include <cstring>
#include <vector>

#include "packed/lookup.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

template <class T>
T lesser(T a, T b) {
  return a < b ? a : b;
}

// Neurons of one task: their byte sums stay in the first cache, their totals in the second.
constexpr std::int64_t kTile = 4096;

// Types of this namespace, so that no two instruction sets share a std::vector (see isa.h).
struct Entry {
  std::int8_t value;
};
struct Votes {  // of one neuron for up to 8 labels, wide enough to be added up as they are
  typedef std::int32_t Labels __attribute__((vector_size(32)));
  Labels labels;
};
struct Pick {
  std::int64_t neuron, table;  // column of the codes, and first entry of its polarity's table
};

using Row = void (*)(const void* code, const std::int8_t* table, std::int64_t entries,
                     std::int8_t* sum, std::int64_t count);

template <int Parts>
void narrow_row(const void* code, const std::int8_t* table, std::int64_t, std::int8_t* sum,
                std::int64_t count) {
  add_looked_up<Parts>(static_cast<const std::uint8_t*>(code), table, sum, count);
}

void wide_row(const void* code, const std::int8_t* table, std::int64_t entries, std::int8_t* sum,
              std::int64_t count) {
  const auto* codes = static_cast<const std::uint16_t*>(code);
  for (std::int64_t n = 0; n < count; ++n) {
    const std::int64_t at = lesser<std::int64_t>(codes[n], entries - 1);
    sum[n] = static_cast<std::int8_t>(sum[n] + table[at]);
  }
}

struct Tables {
  std::vector<Entry> values;  // [K, entries], 0 beyond C
  std::int64_t entries;
  int rows_until_overflow;
  Row row;
};

// C is 6, 24 or 120 for 2, 3 or 4 labels: 1, 2 or 8 parts of 16.
Tables prepare(const SumByLabelArgs& a) {
  Tables t;
  const std::int64_t C = a.codes.C;
  if (a.codes.wide) {
    t.entries = C + 1, t.row = wide_row;
  } else if (C <= 16) {
    t.entries = 16, t.row = narrow_row<1>;
  } else if (C <= 32) {
    t.entries = 32, t.row = narrow_row<2>;
  } else if (C <= 128) {
    t.entries = 128, t.row = narrow_row<8>;
  } else {
    t.entries = 256, t.row = narrow_row<16>;
  }
  t.values.assign(a.K * t.entries, Entry{0});
  int largest = 1;
  for (std::int64_t label = 0; label < a.K; ++label) {
    std::memcpy(&t.values[label * t.entries].value, a.tables + label * C, C);
    for (std::int64_t code = 0; code < C; ++code) {
      const int value = a.tables[label * C + code], size = value < 0 ? -value : value;
      if (size > largest) largest = size;
    }
  }
  t.rows_until_overflow = largest > 127 ? 1 : 127 / largest;
  return t;
}

void flush(std::int8_t* __restrict sum, std::int64_t* __restrict total, std::int64_t count) {
#pragma omp simd
  for (std::int64_t n = 0; n < count; ++n) total[n] += sum[n];
  std::memset(sum, 0, count);
}

template <class Code>
void count_row(const VotesBySizeArgs& a, const Pick* pick, const Votes* tables, const Code* code,
               std::int64_t* votes) {
  Votes::Labels total = {};
  std::int64_t m = 0;
  for (std::int64_t s = 0; s < a.S; ++s, votes += a.K) {
    for (; m < a.sizes[s]; ++m) {
      const std::int64_t at = lesser<std::int64_t>(code[pick[m].neuron], a.codes.C);
      total += tables[pick[m].table + at].labels;
    }
    for (std::int64_t k = 0; k < a.K; ++k) votes[k] = total[k];
  }
}

}  // namespace

void sum_by_label(const SumByLabelArgs& a) {
  const Tables tables = prepare(a);
  const std::int64_t size = a.codes.wide ? 2 : 1, tiles = (a.codes.N + kTile - 1) / kTile;
  const auto* codes = static_cast<const char*>(a.codes.data);
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t from = tile * kTile, count = lesser(kTile, a.codes.N - from);
    std::int64_t* total = a.total + from;
    std::int8_t sum[kTile] = {};
    std::memset(total, 0, count * sizeof(std::int64_t));
    for (std::int64_t q = 0; q < a.codes.Q; ++q) {
      tables.row(codes + (q * a.codes.stride + from) * size,
                 &tables.values[a.labels[q] * tables.entries].value, tables.entries, sum, count);
      if ((q + 1) % tables.rows_until_overflow == 0) flush(sum, total, count);
    }
    flush(sum, total, count);
  }
}

void votes_by_size(const VotesBySizeArgs& a) {
  const std::int64_t C = a.codes.C;
  std::vector<Votes> tables(3 * (C + 1), Votes{});
  for (std::int64_t sign = 0; sign < 3; ++sign) {
    for (std::int64_t code = 0; code < C; ++code) {
      for (std::int64_t k = 0; k < a.K; ++k) {
        tables[sign * (C + 1) + code].labels[k] = a.tables[(sign * C + code) * a.K + k];
      }
    }
  }
  std::int64_t M = 0;
  for (std::int64_t s = 0; s < a.S; ++s) M = a.sizes[s] > M ? a.sizes[s] : M;
  std::vector<Pick> picks(M);
  for (std::int64_t m = 0; m < M; ++m) {
    const std::int64_t sign = (a.polarity[m] > 0) - (a.polarity[m] < 0);
    picks[m] = {a.neurons[m], (sign + 1) * (C + 1)};
  }
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (std::int64_t q = 0; q < a.codes.Q; ++q) {
    std::int64_t* votes = a.votes + q * a.S * a.K;
    const std::int64_t row = q * a.codes.stride;
    if (a.codes.wide) {
      count_row(a, picks.data(), tables.data(),
                static_cast<const std::uint16_t*>(a.codes.data) + row, votes);
    } else {
      count_row(a, picks.data(), tables.data(),
                static_cast<const std::uint8_t*>(a.codes.data) + row, votes);
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
