// The loops over contiguous memory that the sparse codecs spend their time in, for the CPU at hand.

#ifndef TFDML_NATIVE_KERNELS_SPARSE_SIMD_H_
#define TFDML_NATIVE_KERNELS_SPARSE_SIMD_H_

#include <cstdint>

namespace tfdml {

// A value that may be selected: its index and its bits.
struct Candidate {
  int32_t index;
  uint32_t bits;
};

// The bits of |x|; as integers they are ordered as |x| is.
inline int32_t Magnitude(uint32_t bits) { return static_cast<int32_t>(bits & 0x7fffffffu); }

// residual = values + scale * residual
void AddScaled(const float* values, float scale, float* residual, int64_t count);

// Which values to find: those whose Magnitude is at least `threshold` (> 0). The first has the index `first`. There
// are at most kFilterStep of them, and `found` has room for one more than there are.
constexpr int64_t kFilterStep = 2048;
struct Filter {
  int32_t first;
  int32_t threshold;
  Candidate* found;
};

// These return how many values were found. In v:
int64_t FindIn(const float* v, int64_t count, const Filter& filter);

// In residual = values + scale * residual:
int64_t AddScaledAndFind(const float* values, float scale, float* residual, int64_t count,
                         const Filter& filter);

// In residual = residual + velocity, with velocity = momentum * velocity + values:
int64_t AddVelocityAndFind(const float* values, float momentum, float* velocity, float* residual,
                           int64_t count, const Filter& filter);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_SPARSE_SIMD_H_
