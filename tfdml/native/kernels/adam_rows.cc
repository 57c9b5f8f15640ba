#include "adam_rows.h"

#include <cmath>

namespace tfdml {

template <typename Index>
int64_t FirstOutside(const Index* indices, int64_t num_indices, int64_t num_rows) {
  for (int64_t i = 0; i < num_indices; ++i) {
    if (indices[i] < 0 || indices[i] >= num_rows) return i;
  }
  return -1;
}

template <typename Index>
void AdamRows(float* w, float* m, float* v, const float* g, const Index* indices, int64_t num_indices,
              int64_t row_size, const AdamSettings& settings, const ParallelFor& parallel) {
  const float rest_1 = 1.0f - settings.beta_1, rest_2 = 1.0f - settings.beta_2;
  // Some nanoseconds a value, and three rows that are in no cache.
  parallel(num_indices, 300 + 4 * row_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t start = static_cast<int64_t>(indices[i]) * row_size;
      float *wr = w + start, *mr = m + start, *vr = v + start;
      const float* gr = g + i * row_size;
      for (int64_t j = 0; j < row_size; ++j) {
        mr[j] += (gr[j] - mr[j]) * rest_1;
        vr[j] += (gr[j] * gr[j] - vr[j]) * rest_2;
        wr[j] -= mr[j] * settings.alpha / (std::sqrt(vr[j]) + settings.epsilon);
      }
    }
  });
}

template int64_t FirstOutside(const int32_t*, int64_t, int64_t);
template int64_t FirstOutside(const int64_t*, int64_t, int64_t);
template void AdamRows(float*, float*, float*, const float*, const int32_t*, int64_t, int64_t, const AdamSettings&,
                       const ParallelFor&);
template void AdamRows(float*, float*, float*, const float*, const int64_t*, int64_t, int64_t, const AdamSettings&,
                       const ParallelFor&);

}  // namespace tfdml
