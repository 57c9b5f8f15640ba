// Codecs that send a part of the values: the largest with their indices, or those at random positions.
//
// A payload of the largest is k indices (ascending) and the bits of k values; one of random positions is the two
// words of the seed and the bits of k values. tfdml/native/reference_sparse.py says the same in TensorFlow ops.
// Sizes are below 2^31. Nothing depends on the number of threads.

#ifndef TFDML_NATIVE_KERNELS_SPARSE_H_
#define TFDML_NATIVE_KERNELS_SPARSE_H_

#include <cstdint>
#include <vector>

#include "parallel.h"
#include "vector_view.h"

namespace tfdml {

struct Seed {
  uint32_t s0, s1;
};

// A seed as the hash of positions needs it: both words depend on the first, because of seeds that count steps, one
// must not give the positions of the next, moved by a part.
struct MixedSeed {
  explicit MixedSeed(Seed seed);

  uint32_t first, second;
};

// Writes the k values of the largest magnitude, the earlier of equal ones, as 2k words. Zeros and subnormal
// numbers are not selected: where too few others are there, entries of index 0 and value 0 come first.
void TopK(const VectorView<const float>& values, int64_t k, const ParallelFor& parallel, int32_t* words);

// Selects from v = values + residual_scale * residuals; residuals become v, and 0 where selected.
void TopKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                  float residual_scale, int64_t k, const ParallelFor& parallel, int32_t* words);

// u = momentum * u + values; v = v + u; selects from v; u and v become 0 where selected. u are the velocities, v
// the residuals.
void TopKMomentum(const VectorView<const float>& values, const VectorView<float>& velocities,
                  const VectorView<float>& residuals, float momentum, int64_t k,
                  const ParallelFor& parallel, int32_t* words);

// Part j of [0, size), of k parts of nearly equal width, begins here.
inline int64_t PartBegin(int64_t size, int64_t k, int64_t j) { return j * size / k; }

// A position in part j.
int32_t RandomPosition(int64_t size, int64_t k, int64_t j, const MixedSeed& seed);

// One position in each of the k parts, ascending.
std::vector<int32_t> RandomPositions(int64_t size, int64_t k, Seed seed, const ParallelFor& parallel);

// Writes the seed and the values at RandomPositions as 2 + k words. `scaled`: times the width of their parts.
void RandomK(const VectorView<const float>& values, int64_t k, Seed seed, bool scaled,
             const ParallelFor& parallel, int32_t* words);

// RandomK of v = values + residual_scale * residuals; residuals become v minus what is sent.
void RandomKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                     float residual_scale, int64_t k, Seed seed, bool scaled, const ParallelFor& parallel,
                     int32_t* words);

// The bits of float32 values at ascending indices.
struct SparsePayload {
  const int32_t* index;
  const int32_t* bits;
  int64_t count;
};

// Sets every output to `initial` plus the values of all payloads, added in their order. Returns false, and
// writes nothing, if the indices of a payload are not ascending or lie outside of the outputs.
bool SparseSum(const std::vector<SparsePayload>& payloads, float initial, const VectorView<float>& outputs,
               const ParallelFor& parallel);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_SPARSE_H_
