// A list of tensors seen as one vector: nobody has to copy a bucket of gradients into one tensor first.

#ifndef TFDML_NATIVE_KERNELS_VECTOR_VIEW_H_
#define TFDML_NATIVE_KERNELS_VECTOR_VIEW_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace tfdml {

// Element i of the view is element i of the concatenation of the tensors. `T` is float or const float. The
// view owns nothing. All functions may be called from several threads for ranges that do not overlap.
template <typename T>
class VectorView {
 public:
  void Append(T* data, int64_t size) {
    if (size == 0) return;
    starts_.push_back(size_);
    data_.push_back(data);
    size_ += size;
  }

  int64_t size() const { return size_; }

  // Calls fn(T* data, int64_t first, int64_t count) for each contiguous piece of [begin, end), in order; `first`
  // is the index of data[0] in the view. What lies past the end of the view is left out.
  template <typename Fn>
  void ForEachPiece(int64_t begin, int64_t end, const Fn& fn) const {
    end = std::min(end, size_);
    if (begin >= end) return;
    for (size_t i = Find(begin); begin < end; ++i) {
      const int64_t stop = std::min(end, End(i));
      fn(data_[i] + (begin - starts_[i]), begin, stop - begin);
      begin = stop;
    }
  }

  // A pointer to the `count` elements from `begin` on: into their tensor if they lie in one, else to `scratch`,
  // where they have been copied. What lies past the end of the view reads as zero.
  T* Tile(int64_t begin, int64_t count, float* scratch) const {
    if (begin < size_ && count > 0) {
      const size_t i = Find(begin);
      if (begin + count <= End(i)) return data_[i] + (begin - starts_[i]);
    }
    ForEachPiece(begin, begin + count, [&](const T* data, int64_t first, int64_t length) {
      std::memcpy(scratch + (first - begin), data, length * sizeof(float));
    });
    const int64_t present = std::min(std::max<int64_t>(size_ - begin, 0), count);
    std::fill(scratch + present, scratch + count, 0.0f);
    return scratch;
  }

  // Writes back a tile that Tile() gave and the caller has changed: copies if it is the scratch memory. What
  // lies past the end of the view is dropped.
  void PutBack(int64_t begin, int64_t count, const float* tile, const float* scratch) const {
    static_assert(!std::is_const<T>::value, "a view of const floats cannot be written to");
    if (tile != scratch) return;
    ForEachPiece(begin, begin + count, [&](T* data, int64_t first, int64_t length) {
      std::memcpy(data, tile + (first - begin), length * sizeof(float));
    });
  }

 private:
  // The tensor that holds element `index`, which must be in the view.
  size_t Find(int64_t index) const {
    return std::upper_bound(starts_.begin(), starts_.end(), index) - starts_.begin() - 1;
  }
  int64_t End(size_t i) const { return i + 1 < starts_.size() ? starts_[i + 1] : size_; }

  std::vector<int64_t> starts_;
  std::vector<T*> data_;
  int64_t size_ = 0;
};

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_VECTOR_VIEW_H_
