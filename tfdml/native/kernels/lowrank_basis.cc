// Orthonormal columns, and what a replica remembers of them: small, so on one thread for each matrix.

#include <algorithm>
#include <cmath>

#include "lowrank.h"

namespace tfdml {
namespace {

// A column of whose squared length less than this part is left depends on the columns before it.
constexpr double kDependent = 1e-10;

// The sum of a[i] * b[i], by halves: the first half plus the second, until one is left. `scratch` has room for half
// as many as the smallest power of two that is not below `size`; beyond `size` there are zeros.
double Dot(const double* a, const double* b, int64_t size, double* __restrict scratch) {
  int64_t half = 1;
  while (2 * half < size) half *= 2;
  const int64_t present = std::max<int64_t>(size - half, 0);
  for (int64_t i = 0; i < present; ++i) scratch[i] = a[i] * b[i] + a[i + half] * b[i + half];
  for (int64_t i = present; i < half; ++i) scratch[i] = i < size ? a[i] * b[i] + 0.0 : 0.0;
  while (half > 1) {
    half /= 2;
    for (int64_t i = 0; i < half; ++i) scratch[i] += scratch[i + half];
  }
  return scratch[0];
}

void OrthogonaliseOne(const Basis& item, int64_t rank) {
  const int64_t rows = item.rows;
  std::vector<double> scratch(std::max<int64_t>(rows, 1));
  std::vector<std::vector<double>> columns(rank, std::vector<double>(rows));
  std::vector<double> before(rank);
  for (int64_t k = 0; k < rank; ++k) {
    for (int64_t i = 0; i < rows; ++i) columns[k][i] = item.product[i * rank + k];
    before[k] = Dot(columns[k].data(), columns[k].data(), rows, scratch.data());
  }
  for (int64_t j = 0; j < rank; ++j) {
    const double* column = columns[j].data();
    const double square = Dot(column, column, rows, scratch.data());
    const bool independent = square > kDependent * before[j];
    const double length = std::sqrt(square);
    for (int64_t i = 0; i < rows; ++i) {
      item.basis[i * rank + j] = independent ? static_cast<float>(column[i] / length) : 0.0f;
    }
    if (!independent) continue;
    for (int64_t k = j + 1; k < rank; ++k) {
      double* other = columns[k].data();
      const double part = Dot(column, other, rows, scratch.data()) / square;
      for (int64_t i = 0; i < rows; ++i) other[i] -= part * column[i];
    }
  }
}

}  // namespace

void Orthogonalise(const std::vector<Basis>& items, int64_t rank, const ParallelFor& parallel) {
  int64_t rows = 0;
  for (const Basis& item : items) rows += item.rows;
  const int64_t mean = rows / std::max<int64_t>(items.size(), 1);
  parallel(items.size(), mean * rank * (rank + 4) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) OrthogonaliseOne(items[i], rank);
  });
}

void KeepFactor(int64_t columns, int64_t rank, const float* total, float* factor) {
  for (int64_t k = 0; k < rank; ++k) {
    bool alive = false;
    for (int64_t j = 0; j < columns; ++j) alive |= total[j * rank + k] != 0.0f;
    if (!alive) continue;
    for (int64_t j = 0; j < columns; ++j) factor[j * rank + k] = total[j * rank + k];
  }
}

}  // namespace tfdml
