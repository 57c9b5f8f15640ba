// The k values of the largest magnitude, in one pass over the memory.
//
// A sample says which threshold some more than k values exceed; the pass collects them, and the k are searched
// among them alone. If the sample was misleading and fewer than k exceed it, a further pass with a lower
// threshold follows, so the result is exact whatever the values are; only the time depends on the sample.

#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <utility>

#include "sparse.h"
#include "sparse_simd.h"

namespace tfdml {
namespace {

constexpr int64_t kSample = 16384;
constexpr int64_t kTile = 16384;      // Values that a thread takes at a time.
constexpr int64_t kTileCost = 20000;  // Nanoseconds.
constexpr int64_t kStep = 1024;       // Values that stay in the first-level cache between update and filter.
constexpr int32_t kSmallestNormal = 0x00800000;

uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// Where v comes from. Peek gives one value and changes nothing; Produce gives `count` values, all in one tensor,
// and leaves them where they are to stay.
template <typename T>
struct Plain {
  const VectorView<T>& values;

  float Peek(int64_t i) const { return *values.Tile(i, 1, nullptr); }
  const float* Produce(int64_t begin, int64_t count) const { return values.Tile(begin, count, nullptr); }
};

struct WithResidual {
  const VectorView<const float>& values;
  const VectorView<float>& residuals;
  const float scale;

  float Peek(int64_t i) const {
    return *values.Tile(i, 1, nullptr) + scale * *residuals.Tile(i, 1, nullptr);
  }
  const float* Produce(int64_t begin, int64_t count) const {
    float* residual = residuals.Tile(begin, count, nullptr);
    AddScaled(values.Tile(begin, count, nullptr), scale, residual, count);
    return residual;
  }
};

struct WithVelocity {
  const VectorView<const float>& values;
  const VectorView<float>& velocities;
  const VectorView<float>& residuals;
  const float momentum;

  float Peek(int64_t i) const {
    return *residuals.Tile(i, 1, nullptr) +
           (momentum * *velocities.Tile(i, 1, nullptr) + *values.Tile(i, 1, nullptr));
  }
  const float* Produce(int64_t begin, int64_t count) const {
    float* residual = residuals.Tile(begin, count, nullptr);
    AddVelocity(values.Tile(begin, count, nullptr), momentum, velocities.Tile(begin, count, nullptr),
                residual, count);
    return residual;
  }
};

// A sample of magnitudes, and the threshold that it suggests.
class Threshold {
 public:
  // About rank * size / kSample values exceed the rank-th largest of the sample. The number of values in the
  // sample that are among the k largest is about `mean` on average, with a standard deviation of its square
  // root; three of those on top make it rare that fewer than k exceed the threshold.
  template <typename Source>
  Threshold(const Source& source, int64_t size, int64_t k) {
    const int64_t sampled = std::min(size, kSample);
    const double mean = static_cast<double>(sampled) * k / size;
    rank_ = sampled == size ? k : static_cast<int64_t>(std::ceil(mean + 3 * std::sqrt(mean))) + 1;
    sample_.reserve(sampled);
    for (const int32_t i : RandomPositions(size, sampled, {0, 0})) {
      sample_.push_back(Magnitude(Bits(source.Peek(i))));
    }
    Find();
  }

  int32_t value() const { return value_; }
  // Whether every value that may be selected reaches it.
  bool lowest() const { return value_ <= kSmallestNormal; }
  void Lower() {
    rank_ *= 4;
    Find();
  }

 private:
  void Find() {
    value_ = kSmallestNormal;
    if (rank_ >= static_cast<int64_t>(sample_.size())) return;
    const auto nth = sample_.begin() + (rank_ - 1);
    std::nth_element(sample_.begin(), nth, sample_.end(), std::greater<int32_t>());
    value_ = std::max(value_, *nth);
  }

  std::vector<int32_t> sample_;
  int64_t rank_;
  int32_t value_;
};

// All values that reach the threshold, in ascending order of index.
template <typename Source, typename T>
std::vector<Candidate> Collect(const Source& source, const VectorView<T>& tensors, int32_t threshold,
                               const ParallelFor& parallel) {
  std::vector<std::pair<int64_t, std::vector<Candidate>>> parts;
  std::mutex mutex;
  parallel((tensors.size() + kTile - 1) / kTile, kTileCost, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> part;
    Candidate found[kStep];
    tensors.ForEachPiece(begin * kTile, end * kTile, [&](const float*, int64_t first, int64_t count) {
      for (const int64_t stop = first + count; first < stop; first += kStep) {
        const int64_t step = std::min(kStep, stop - first);
        const float* v = source.Produce(first, step);
        const int64_t size = Filter(v, step, static_cast<int32_t>(first), threshold, found);
        part.insert(part.end(), found, found + size);
      }
    });
    std::lock_guard<std::mutex> lock(mutex);
    parts.emplace_back(begin, std::move(part));
  });
  std::sort(parts.begin(), parts.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  if (parts.size() == 1) return std::move(parts[0].second);
  std::vector<Candidate> all;
  size_t size = 0;
  for (const auto& part : parts) size += part.second.size();
  all.reserve(size);
  for (const auto& part : parts) all.insert(all.end(), part.second.begin(), part.second.end());
  return all;
}

// Leaves the k largest, the earlier of equal ones, in their order.
void KeepLargest(int64_t k, std::vector<Candidate>* candidates) {
  if (static_cast<int64_t>(candidates->size()) <= k) return;
  std::vector<int32_t> magnitudes;
  magnitudes.reserve(candidates->size());
  for (const Candidate& candidate : *candidates) magnitudes.push_back(Magnitude(candidate.bits));
  const auto nth = magnitudes.begin() + (k - 1);
  std::nth_element(magnitudes.begin(), nth, magnitudes.end(), std::greater<int32_t>());
  const int32_t least = *nth;
  // All that are larger are before the k-th now.
  int64_t equal = std::count(magnitudes.begin(), nth + 1, least);
  const auto drop = [&](const Candidate& candidate) {
    const int32_t magnitude = Magnitude(candidate.bits);
    return magnitude < least || (magnitude == least && equal-- <= 0);
  };
  candidates->erase(std::remove_if(candidates->begin(), candidates->end(), drop), candidates->end());
}

// Writes the words and returns what was selected. `kept` holds v once `source` has produced it.
template <typename Source, typename T>
std::vector<Candidate> Select(const Source& source, const VectorView<T>& kept, int64_t k,
                              const ParallelFor& parallel, int32_t* words) {
  if (k == 0) return {};
  Threshold threshold(source, kept.size(), k);
  std::vector<Candidate> selected = Collect(source, kept, threshold.value(), parallel);
  while (static_cast<int64_t>(selected.size()) < k && !threshold.lowest()) {
    threshold.Lower();
    selected = Collect(Plain<T>{kept}, kept, threshold.value(), parallel);
  }
  KeepLargest(k, &selected);
  const int64_t missing = k - static_cast<int64_t>(selected.size());
  std::fill(words, words + missing, 0);
  std::fill(words + k, words + k + missing, 0);
  int32_t* word = words + missing;
  for (const Candidate& candidate : selected) {
    word[0] = candidate.index;
    word[k] = static_cast<int32_t>(candidate.bits);
    ++word;
  }
  return selected;
}

void Clear(const std::vector<Candidate>& selected, const VectorView<float>& view) {
  for (const Candidate& candidate : selected) *view.Tile(candidate.index, 1, nullptr) = 0;
}

}  // namespace

void TopK(const VectorView<const float>& values, int64_t k, const ParallelFor& parallel, int32_t* words) {
  Select(Plain<const float>{values}, values, k, parallel, words);
}

void TopKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                  float residual_scale, int64_t k, const ParallelFor& parallel, int32_t* words) {
  const WithResidual source{values, residuals, residual_scale};
  Clear(Select(source, residuals, k, parallel, words), residuals);
}

void TopKMomentum(const VectorView<const float>& values, const VectorView<float>& velocities,
                  const VectorView<float>& residuals, float momentum, int64_t k,
                  const ParallelFor& parallel, int32_t* words) {
  const WithVelocity source{values, velocities, residuals, momentum};
  const std::vector<Candidate> selected = Select(source, residuals, k, parallel, words);
  Clear(selected, velocities);
  Clear(selected, residuals);
}

}  // namespace tfdml
