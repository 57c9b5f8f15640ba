// Runs the low-rank kernels without TensorFlow and prints a digest of all that they write, one line a case.
//
// The argument is the number of ranges into which work is split. They run at once, in threads of their own, and
// begin with the last, so that a result which depends on the split or on the order shows.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/lowrank.h"

using namespace tfdml;

namespace {

using Floats = std::vector<float>;

uint64_t Digest(const std::vector<Floats>& lists) {
  uint64_t value = 14695981039346656037u;
  for (const Floats& list : lists) {
    for (const float& item : list) {
      uint32_t bits;
      std::memcpy(&bits, &item, sizeof(bits));
      value = (value ^ bits) * 1099511628211u;
    }
  }
  return value;
}

ParallelFor Split(int64_t parts) {
  return [parts](int64_t total, int64_t, const RangeFn& work) {
    std::vector<std::thread> threads;
    for (int64_t part = parts - 1; part >= 0; --part) {
      const int64_t begin = total * part / parts, end = total * (part + 1) / parts;
      if (begin < end) threads.emplace_back([&work, begin, end] { work(begin, end); });
    }
    for (std::thread& thread : threads) thread.join();
  };
}

Floats Values(int64_t size, uint32_t seed) {
  Floats values(size);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / (1 << 23) - 1;
  }
  return values;
}

// Every array has exactly the size that it must have, so that a sanitizer notices what is read beside it.
void Case(const std::vector<std::pair<int64_t, int64_t>>& shapes, int64_t rank, const ParallelFor& parallel) {
  std::vector<Floats> gradients, matrices, factors, products, bases, own, sums;
  for (const auto& [rows, columns] : shapes) {
    gradients.push_back(Values(rows * columns, 1));
    matrices.push_back(Values(rows * columns, 2));
    factors.push_back(Values(columns * rank, 3));
    products.emplace_back(rows * rank);
    bases.emplace_back(rows * rank);
    own.emplace_back(columns * rank);
    sums.emplace_back(rows * columns);
  }
  std::vector<Projection> projections;
  std::vector<Basis> columns;
  std::vector<BackProjection> backs;
  std::vector<Expansion> expansions;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto [m, n] = shapes[i];
    projections.push_back(
        {m, n, gradients[i].data(), matrices[i].data(), factors[i].data(), products[i].data()});
    columns.push_back({m, products[i].data(), bases[i].data()});
    backs.push_back({m, n, bases[i].data(), matrices[i].data(), own[i].data()});
    expansions.push_back({m, n, bases[i].data(), own[i].data(), sums[i].data()});
  }
  Project(projections, 0.3f, rank, parallel);
  Orthogonalise(columns, rank, parallel);
  BackProject(backs, rank, parallel);
  Expand(expansions, 0.0f, rank, parallel);
  for (size_t i = 0; i < shapes.size(); ++i) {
    KeepFactor(shapes[i].second, rank, own[i].data(), factors[i].data());
  }
  std::printf("%lld", static_cast<long long>(rank));
  for (const auto* lists : {&matrices, &factors, &products, &bases, &own, &sums}) {
    std::printf(" %016llx", static_cast<unsigned long long>(Digest(*lists)));
  }
  std::printf("\n");
}

}  // namespace

int main(int, char** arguments) {
  const ParallelFor parallel = Split(std::atoi(arguments[1]));
  for (int64_t rank = 1; rank <= 10; ++rank) {
    for (int64_t size = 1; size <= 18; ++size) Case({{size, 19 - size}, {19 - size, size}}, rank, parallel);
    Case({{257, 1027}, {0, 0}, {5, 3}, {1030, 65}, {1, 70000}, {3000, 1}, {64, 64}}, rank, parallel);
  }
}
