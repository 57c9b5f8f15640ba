// The loops over contiguous memory that selection spends its time in, for the CPU at hand.

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

// velocity = momentum * velocity + values; residual = residual + velocity
void AddVelocity(const float* values, float momentum, float* velocity, float* residual, int64_t count);

// Writes the values whose Magnitude is at least `threshold` (> 0) to `found`, which has room for `count`, and
// returns how many there are. The index of v[0] is `first`.
int64_t Filter(const float* v, int64_t count, int32_t first, int32_t threshold, Candidate* found);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_SPARSE_SIMD_H_
