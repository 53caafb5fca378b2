// Scratch memory of floats that grows and never shrinks. std::vector<float> would do, but its
// functions are shared between instruction sets (see isa.h).
#pragma once

#include <cstdint>

namespace negkernel::NEGKERNEL_ISA {

class Buffer {
 public:
  // Room for `size` floats whose values are undefined.
  float* reserve(std::int64_t size) {
    if (size > size_) {
      delete[] data_;
      data_ = new float[size];
      size_ = size;
    }
    return data_;
  }
  float* filled(std::int64_t size, float value) {
    reserve(size);
    for (std::int64_t i = 0; i < size; ++i) data_[i] = value;
    return data_;
  }
  float* data() { return data_; }
  const float* data() const { return data_; }

  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { delete[] data_; }

 private:
  float* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace negkernel::NEGKERNEL_ISA
