// What PowerSGD computes with large matrices M and thin ones P and Q, so that M ~ P Q^T.
//
// tfdml/native/reference_lowrank.py says the same in TensorFlow ops. Each function takes a list of matrices, so that
// small ones share the threads. M is [rows, columns], P is [rows, rank], Q is [columns, rank]. No bit depends on the
// CPU or on the number of threads.

#ifndef TFDML_NATIVE_KERNELS_LOWRANK_H_
#define TFDML_NATIVE_KERNELS_LOWRANK_H_

#include <cstdint>
#include <vector>

#include "parallel.h"

namespace tfdml {

struct Projection {
  int64_t rows, columns;
  const float* gradient;
  float* matrix;
  const float* factor;
  float* product;
};

// M = gradient + scale * M; P = M Q
void Project(const std::vector<Projection>& items, float scale, int64_t rank, const ParallelFor& parallel);

struct Basis {
  int64_t rows;
  const float* product;
  float* basis;
};

// The columns of P made orthonormal one after the other, in double precision. A column that depends on those before
// it, or is zero, becomes zero.
void Orthogonalise(const std::vector<Basis>& items, int64_t rank, const ParallelFor& parallel);

struct BackProjection {
  int64_t rows, columns;
  const float* basis;
  float* matrix;
  float* factor;
};

// Q = M^T P; M = M - P Q^T
void BackProject(const std::vector<BackProjection>& items, int64_t rank, const ParallelFor& parallel);

struct Expansion {
  int64_t rows, columns;
  const float* basis;
  const float* factor;
  float* product;
};

// initial + P Q^T; the products of one column after the other are added to `initial`.
void Expand(const std::vector<Expansion>& items, float initial, int64_t rank, const ParallelFor& parallel);

// Q = total, but a column of `total` that is all zero leaves that of Q as it is.
void KeepFactor(int64_t columns, int64_t rank, const float* total, float* factor);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_LOWRANK_H_
