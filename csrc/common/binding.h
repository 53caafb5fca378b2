// What every binding shares: tensors come as addresses (`tensor.data_ptr()`), and
// negkernel/ops/<op>/cpp.py has checked their shapes; indices are checked here, where data is read.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace negkernel {

namespace py = pybind11;
using namespace py::literals;
using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// Indices below `limit`, checked because the kernels would read elsewhere.
inline const std::int64_t* indices(const char* name, Address address, std::int64_t count,
                                   std::int64_t limit) {
  const auto* index = at<const std::int64_t>(address);
  for (std::int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= limit) {
      throw py::index_error(std::string(name) + "[" + std::to_string(i) + "] is " +
                            std::to_string(index[i]) + ", expected at least 0 and below " +
                            std::to_string(limit));
    }
  }
  return index;
}

inline const std::int64_t* prompts(Address address, std::int64_t R, std::int64_t P) {
  return indices("row_prompt", address, R, P);
}

}  // namespace negkernel
