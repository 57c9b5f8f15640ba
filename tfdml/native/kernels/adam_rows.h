// Adam in some rows of a table and of its two averages.

#ifndef TFDML_NATIVE_KERNELS_ADAM_ROWS_H_
#define TFDML_NATIVE_KERNELS_ADAM_ROWS_H_

#include <cstdint>

#include "parallel.h"

namespace tfdml {

struct AdamSettings {
  float alpha, beta_1, beta_2, epsilon;
};

// The first of `num_indices` indices that is not in [0, num_rows), as its position, or -1: all are.
template <typename Index>
int64_t FirstOutside(const Index* indices, int64_t num_indices, int64_t num_rows);

// For every row r = indices[i]: m[r] += (g[i] - m[r]) (1 - beta_1); v[r] += (g[i]^2 - v[r]) (1 - beta_2);
// w[r] -= alpha m[r] / (sqrt(v[r]) + epsilon). All indices are in the table, and each is there once: rows are
// shared out to threads. A row is `row_size` values.
template <typename Index>
void AdamRows(float* w, float* m, float* v, const float* g, const Index* indices, int64_t num_indices,
              int64_t row_size, const AdamSettings& settings, const ParallelFor& parallel);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_ADAM_ROWS_H_
