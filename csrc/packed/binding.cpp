// Binds the two counts over packed orders.
#include "bindings.h"
#include "packed/packed_cpu.h"

namespace negkernel {

void bind_packed(py::module_& m, void (*sum_by_label)(const SumByLabelArgs&),
                 void (*votes_by_size)(const VotesBySizeArgs&)) {
  m.def(
      "sum_by_label",
      [run = sum_by_label](Address codes, Address labels, Address tables, Address total,
                           std::int64_t Q, std::int64_t N, std::int64_t stride, std::int64_t C,
                           std::int64_t K, bool wide, int num_threads) {
        SumByLabelArgs args;
        args.codes = {at<const void>(codes), Q, N, stride, C, wide};
        args.labels = indices("labels", labels, Q, K);
        args.tables = at<const std::int8_t>(tables);
        args.total = at<std::int64_t>(total);
        args.K = K;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "codes"_a, "labels"_a, "tables"_a, "total"_a, py::kw_only(), "Q"_a, "N"_a, "stride"_a, "C"_a,
      "K"_a, "wide"_a, "num_threads"_a, "Write total [N] int64.");
  m.def(
      "votes_by_size",
      [run = votes_by_size](Address codes, Address neurons, Address polarity, Address tables,
                            Address sizes, Address votes, std::int64_t Q, std::int64_t N,
                            std::int64_t stride, std::int64_t C, std::int64_t M, std::int64_t K,
                            std::int64_t S, bool wide, int num_threads) {
        VotesBySizeArgs args;
        args.codes = {at<const void>(codes), Q, N, stride, C, wide};
        args.neurons = indices("neurons", neurons, M, N);
        args.polarity = at<const std::int8_t>(polarity);
        args.tables = at<const std::int8_t>(tables);
        args.sizes = indices("sizes", sizes, S, M + 1);
        args.votes = at<std::int64_t>(votes);
        args.K = K;
        args.S = S;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "codes"_a, "neurons"_a, "polarity"_a, "tables"_a, "sizes"_a, "votes"_a, py::kw_only(), "Q"_a,
      "N"_a, "stride"_a, "C"_a, "M"_a, "K"_a, "S"_a, "wide"_a, "num_threads"_a,
      "Write votes [Q, S, K] int64 of the first sizes[s] neurons.");
}

}  // namespace negkernel
