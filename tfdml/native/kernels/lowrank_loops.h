// The loops over the rows of a large matrix that low-rank products spend their time in, for the CPU at hand.
//
// M is [rows, columns]. A thin matrix on its left, [rows, rank], is stored as it is; of one on its right,
// [columns, rank], the columns are stored one after the other, `stride` apart. Additions have a fixed order and are
// not contracted with products: no bit depends on the CPU.

#ifndef TFDML_NATIVE_KERNELS_LOWRANK_LOOPS_H_
#define TFDML_NATIVE_KERNELS_LOWRANK_LOOPS_H_

#include <cstdint>

namespace tfdml {

struct Extent {
  int64_t rows, columns, rank;
};

// M = gradient + scale * M; left = M right
void ProjectRows(Extent extent, const float* gradient, float scale, float* matrix, const float* right,
                 int64_t stride, float* left);

// right += M^T left, for the columns [begin, end) of M
void AddTransposed(Extent extent, int64_t begin, int64_t end, const float* matrix, const float* left,
                   float* right, int64_t stride);

// M -= left right^T
void SubtractProduct(Extent extent, const float* left, const float* right, int64_t stride, float* matrix);

// M = initial + left right^T, the products of one column after the other added to `initial`
void SetProduct(Extent extent, const float* left, const float* right, int64_t stride, float initial,
                float* matrix);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_LOWRANK_LOOPS_H_
