// Runs the sparse kernels without TensorFlow and prints a digest of all that they write, one line a case.
//
// The argument is the number of ranges into which work is split. They run at once, in threads of their own, and
// begin with the last, so that a result which depends on the split or on the order shows.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/sparse.h"

using namespace tfdml;

namespace {

struct Digest {
  uint64_t value = 14695981039346656037u;

  template <typename T>
  void Add(const std::vector<T>& data) {
    for (const T& item : data) {
      uint32_t bits;
      std::memcpy(&bits, &item, sizeof(bits));
      value = (value ^ bits) * 1099511628211u;
    }
  }
};

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

// Values between -1 and 1, each of `levels` as likely as any other, so few levels make many equal ones.
std::vector<float> Values(int64_t size, uint32_t seed, uint32_t levels) {
  std::vector<float> values(size);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = (static_cast<float>((seed >> 8) % levels) + 0.5f) / static_cast<float>(levels) * 2 - 1;
  }
  return values;
}

// The vector as three tensors.
template <typename T, typename V>
VectorView<T> View(V& values) {
  VectorView<T> view;
  const int64_t size = values.size(), a = size / 7, b = size / 2;
  view.Append(values.data(), a);
  view.Append(values.data() + a, b - a);
  view.Append(values.data() + b, size - b);
  return view;
}

void Case(int64_t size, int64_t k, uint32_t levels, const ParallelFor& parallel) {
  const std::vector<float> values = Values(size, 1, levels);
  std::vector<float> residuals = Values(size, 2, levels), velocities = Values(size, 3, levels), sums(size);
  const auto g = View<const float>(values);
  const auto r = View<float>(residuals), u = View<float>(velocities), sum = View<float>(sums);
  const Seed seed = {5, 6};
  std::vector<int32_t> a(2 * k), b(2 * k), c(2 * k), d(2 + k), e(2 + k);
  TopK(g, k, parallel, a.data());
  TopKFeedback(g, r, 0.3f, k, parallel, b.data());
  TopKMomentum(g, u, r, 0.9f, k, parallel, c.data());
  RandomK(g, k, seed, true, parallel, d.data());
  RandomKFeedback(g, r, 0.7f, k, seed, false, parallel, e.data());
  const std::vector<int32_t> positions = RandomPositions(size, k, seed, parallel);
  const bool ok = SparseSum({{a.data(), a.data() + k, k},
                             {b.data(), b.data() + k, k},
                             {positions.data(), e.data() + 2, k},
                             {c.data(), c.data() + k, k}},
                            0.0f, sum, parallel);
  Digest digest;
  for (const auto* words : {&a, &b, &c, &d, &e}) digest.Add(*words);
  for (const auto* state : {&residuals, &velocities, &sums}) digest.Add(*state);
  std::printf("%lld %lld %u: %d %016llx\n", static_cast<long long>(size), static_cast<long long>(k), levels, ok,
              static_cast<unsigned long long>(digest.value));
}

}  // namespace

int main(int, char** arguments) {
  const ParallelFor parallel = Split(std::atoi(arguments[1]));
  for (const int64_t size : {0, 1, 31, 32, 33, 2047, 2048, 2049, 8191, 8193, 100003, 600000}) {
    for (const uint32_t levels : {1u, 3u, 1u << 20}) {
      for (const double density : {0.0001, 0.01, 0.2, 1.0}) {
        const int64_t k = static_cast<int64_t>(size * density) + (density < 1 && size > 0);
        Case(size, k, levels, parallel);
      }
    }
  }
}
