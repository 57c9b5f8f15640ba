// The k values of the largest magnitude, in one pass over the memory.
//
// A sample says which threshold some more than k values exceed; the pass collects them, and the k are searched
// among them alone. If the sample was misleading and fewer than k exceed it, a further pass with a lower
// threshold follows, so the result is exact whatever the values are; only the time depends on the sample.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "sparse.h"
#include "sparse_simd.h"

namespace tfdml {
namespace {

constexpr int64_t kSample = 8192;
constexpr int64_t kTile = 16384;      // Values that a thread takes at a time.
constexpr int64_t kTileCost = 20000;  // Nanoseconds.
constexpr int64_t kStep = kFilterStep;
constexpr int64_t kPeekCost = 20;  // Nanoseconds; a value that is not in the cache.
constexpr int32_t kSmallestNormal = 0x00800000;

uint32_t Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// Where v comes from. Peek gives one value and changes nothing; Find makes `count` values, all in one tensor, leaves
// them where they are to stay, and finds the large ones.
template <typename T>
struct Plain {
  const VectorView<T>& values;

  float Peek(int64_t i) const { return *values.Tile(i, 1, nullptr); }
  int64_t Find(int64_t begin, int64_t count, const Filter& filter) const {
    return FindIn(values.Tile(begin, count, nullptr), count, filter);
  }
};

struct WithResidual {
  const VectorView<const float>& values;
  const VectorView<float>& residuals;
  const float scale;

  float Peek(int64_t i) const {
    return *values.Tile(i, 1, nullptr) + scale * *residuals.Tile(i, 1, nullptr);
  }
  int64_t Find(int64_t begin, int64_t count, const Filter& filter) const {
    return AddScaledAndFind(values.Tile(begin, count, nullptr), scale, residuals.Tile(begin, count, nullptr),
                            count, filter);
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
  int64_t Find(int64_t begin, int64_t count, const Filter& filter) const {
    return AddVelocityAndFind(values.Tile(begin, count, nullptr), momentum,
                              velocities.Tile(begin, count, nullptr),
                              residuals.Tile(begin, count, nullptr), count, filter);
  }
};

// The k-th largest of magnitudes, whose order changes. A histogram leaves few that must be compared.
int32_t KthLargest(std::vector<int32_t>* magnitudes, int64_t k) {
  constexpr int kBins = 4096;
  int32_t lowest = magnitudes->front(), highest = lowest;
  for (const int32_t magnitude : *magnitudes) {
    lowest = std::min(lowest, magnitude);
    highest = std::max(highest, magnitude);
  }
  int shift = 0;
  while ((highest - lowest) >> shift >= kBins) ++shift;
  int64_t counts[kBins] = {};
  for (const int32_t magnitude : *magnitudes) ++counts[(magnitude - lowest) >> shift];
  int bin = kBins - 1;
  for (; counts[bin] < k; --bin) k -= counts[bin];
  const auto end = std::partition(magnitudes->begin(), magnitudes->end(), [&](int32_t magnitude) {
    return (magnitude - lowest) >> shift == bin;
  });
  const auto nth = magnitudes->begin() + (k - 1);
  std::nth_element(magnitudes->begin(), nth, end, std::greater<int32_t>());
  return *nth;
}

// A sample of magnitudes, and the threshold that it suggests.
class Threshold {
 public:
  // About rank * size / kSample values exceed the rank-th largest of the sample. The number of values in the
  // sample that are among the k largest is about `mean` on average, with a standard deviation of its square
  // root; three of those on top make it rare that fewer than k exceed the threshold.
  template <typename Source>
  Threshold(const Source& source, int64_t size, int64_t k, const ParallelFor& parallel) {
    const int64_t sampled = std::min(size, kSample);
    const double mean = static_cast<double>(sampled) * k / size;
    rank_ = sampled == size ? k : static_cast<int64_t>(std::ceil(mean + 3 * std::sqrt(mean))) + 1;
    const MixedSeed seed(Seed{0, 0});
    sample_.resize(sampled);
    parallel(sampled, kPeekCost, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        sample_[i] = Magnitude(Bits(source.Peek(RandomPosition(size, sampled, i, seed))));
      }
    });
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
    value_ = std::max(value_, KthLargest(&sample_, rank_));
  }

  std::vector<int32_t> sample_;
  int64_t rank_;
  int32_t value_;
};

// All values that reach the threshold, in ascending order of index. About `expected` are.
template <typename Source, typename T>
std::vector<Candidate> Collect(const Source& source, const VectorView<T>& tensors, int32_t threshold,
                               int64_t expected, const ParallelFor& parallel) {
  std::vector<std::pair<int64_t, std::vector<Candidate>>> parts;
  std::mutex mutex;
  const int64_t tiles = (tensors.size() + kTile - 1) / kTile;
  parallel(tiles, kTileCost, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> part;
    part.reserve(expected * (end - begin) / tiles + kStep);
    Candidate found[kStep + 1];
    tensors.ForEachPiece(begin * kTile, end * kTile, [&](const float*, int64_t first, int64_t count) {
      for (const int64_t stop = first + count; first < stop; first += kStep) {
        const int64_t step = std::min(kStep, stop - first);
        const int64_t size = source.Find(first, step, {static_cast<int32_t>(first), threshold, found});
        part.insert(part.end(), found, found + size);
      }
    });
    std::lock_guard<std::mutex> lock(mutex);
    parts.emplace_back(begin, std::move(part));
  });
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Candidate> all = std::move(parts[0].second);
  for (size_t i = 1; i < parts.size(); ++i) {
    all.insert(all.end(), parts[i].second.begin(), parts[i].second.end());
  }
  return all;
}

// Writes the k largest of the candidates, the earlier of equal ones, in their order.
void WriteLargest(const std::vector<Candidate>& candidates, int64_t k, int32_t* words) {
  const int64_t missing = std::max<int64_t>(k - static_cast<int64_t>(candidates.size()), 0);
  std::fill(words, words + missing, 0);
  std::fill(words + k, words + k + missing, 0);
  int32_t least = 0;
  int64_t equal = 0;  // How many of those that equal the least are among the k.
  if (missing == 0) {
    std::vector<int32_t> magnitudes;
    magnitudes.reserve(candidates.size());
    for (const Candidate& candidate : candidates) magnitudes.push_back(Magnitude(candidate.bits));
    least = KthLargest(&magnitudes, k);
    equal = k;
    for (const int32_t magnitude : magnitudes) equal -= magnitude > least;
  }
  int64_t at = missing;
  for (size_t i = 0; at < k; ++i) {
    const Candidate candidate = candidates[i];
    const int32_t magnitude = Magnitude(candidate.bits);
    words[at] = candidate.index;
    words[k + at] = static_cast<int32_t>(candidate.bits);
    bool among = magnitude > least;
    if (magnitude == least) among = equal-- > 0;
    at += among;
  }
}

// Writes the words. `kept` holds v once `source` has made it.
template <typename Source, typename T>
void Select(const Source& source, const VectorView<T>& kept, int64_t k, const ParallelFor& parallel,
            int32_t* words) {
  if (k == 0) return;
  Threshold threshold(source, kept.size(), k, parallel);
  std::vector<Candidate> found = Collect(source, kept, threshold.value(), 2 * k, parallel);
  while (static_cast<int64_t>(found.size()) < k && !threshold.lowest()) {
    threshold.Lower();
    found = Collect(Plain<T>{kept}, kept, threshold.value(), 2 * k, parallel);
  }
  WriteLargest(found, k, words);
}

// Sets what was selected to 0. An entry without effect has the value 0, which is never selected.
void Clear(const int32_t* words, int64_t k, const VectorView<float>& view, const ParallelFor& parallel) {
  parallel(k, kPeekCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (words[k + i] != 0) *view.Tile(words[i], 1, nullptr) = 0;
    }
  });
}

}  // namespace

void TopK(const VectorView<const float>& values, int64_t k, const ParallelFor& parallel, int32_t* words) {
  Select(Plain<const float>{values}, values, k, parallel, words);
}

void TopKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                  float residual_scale, int64_t k, const ParallelFor& parallel, int32_t* words) {
  const WithResidual source{values, residuals, residual_scale};
  Select(source, residuals, k, parallel, words);
  Clear(words, k, residuals, parallel);
}

void TopKMomentum(const VectorView<const float>& values, const VectorView<float>& velocities,
                  const VectorView<float>& residuals, float momentum, int64_t k,
                  const ParallelFor& parallel, int32_t* words) {
  const WithVelocity source{values, velocities, residuals, momentum};
  Select(source, residuals, k, parallel, words);
  Clear(words, k, velocities, parallel);
  Clear(words, k, residuals, parallel);
}

}  // namespace tfdml
