// Splits the matrices into blocks for the threads. What a block computes does not depend on which thread takes it.

#include "lowrank.h"

#include <algorithm>

#include "lowrank_loops.h"

namespace tfdml {
namespace {

// Elements of a block of rows. Some 30 microseconds, and half of the second cache.
constexpr int64_t kBlockElements = 64 * 1024;

// A block of M^T P: for so many columns the sums of four columns of Q stay in the first cache. The rows make part of
// the order of additions.
constexpr int64_t kSumColumns = 1024;
constexpr int64_t kSumRows = 256;

struct Block {
  size_t item;
  int64_t begin, end;  // Rows.
};

// About the nanoseconds that the products of `elements` elements take.
int64_t Cost(int64_t elements, int64_t rank) { return elements * (rank + 4) / 24 + 1; }

template <typename Item>
std::vector<Block> RowBlocks(const std::vector<Item>& items) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < items.size(); ++i) {
    // An even number: the loops take two rows at a time.
    const int64_t rows = std::max<int64_t>(kBlockElements / std::max<int64_t>(items[i].columns, 1) / 2 * 2, 2);
    for (int64_t begin = 0; begin < items[i].rows; begin += rows) {
      blocks.push_back({i, begin, std::min(begin + rows, items[i].rows)});
    }
  }
  return blocks;
}

// Calls fn(item, begin, end) for blocks of rows of all items.
template <typename Item, typename Fn>
void ForRows(const std::vector<Item>& items, int64_t rank, const ParallelFor& parallel, const Fn& fn) {
  const std::vector<Block> blocks = RowBlocks(items);
  parallel(blocks.size(), Cost(kBlockElements, rank), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) fn(blocks[b].item, blocks[b].begin, blocks[b].end);
  });
}

// Thin matrices [columns, rank] whose columns are contiguous.
class Columns {
 public:
  template <typename Item>
  Columns(const std::vector<Item>& items, int64_t rank) : rank_(rank) {
    int64_t size = 0;
    for (const Item& item : items) {
      starts_.push_back(size);
      // Never a power of two: columns that far apart would compete for the same places of the cache.
      strides_.push_back(item.columns / 32 * 32 + 48);
      size += strides_.back() * rank;
    }
    data_.resize(size);
  }

  float* data(size_t item) { return data_.data() + starts_[item]; }
  int64_t stride(size_t item) const { return strides_[item]; }

  void Read(size_t item, int64_t columns, const float* factor) {
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t k = 0; k < rank_; ++k) data(item)[k * strides_[item] + j] = factor[j * rank_ + k];
    }
  }

  void Write(size_t item, int64_t columns, float* factor) {
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t k = 0; k < rank_; ++k) factor[j * rank_ + k] = data(item)[k * strides_[item] + j];
    }
  }

 private:
  int64_t rank_;
  std::vector<int64_t> starts_, strides_;
  std::vector<float> data_;
};

template <typename Item>
Columns ReadColumns(const std::vector<Item>& items, int64_t rank) {
  Columns columns(items, rank);
  for (size_t i = 0; i < items.size(); ++i) columns.Read(i, items[i].columns, items[i].factor);
  return columns;
}

// M^T P of all items: a sum for each block of rows, and then the sum of those in their order.
Columns TransposedProducts(const std::vector<BackProjection>& items, int64_t rank, const ParallelFor& parallel) {
  struct Part {
    size_t item;
    int64_t row, column;
    float* sums;
  };
  Columns totals(items, rank);
  std::vector<std::vector<float>> sums(items.size());
  std::vector<Part> parts;
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t size = totals.stride(i) * rank;
    sums[i].resize((items[i].rows + kSumRows - 1) / kSumRows * size);
    for (int64_t row = 0; row < items[i].rows; row += kSumRows) {
      for (int64_t column = 0; column < items[i].columns; column += kSumColumns) {
        parts.push_back({i, row, column, sums[i].data() + row / kSumRows * size});
      }
    }
  }
  parallel(parts.size(), Cost(kSumRows * kSumColumns, rank), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const Part& part = parts[p];
      const BackProjection& item = items[part.item];
      const Extent extent = {std::min(kSumRows, item.rows - part.row), item.columns, rank};
      AddTransposed(extent, part.column, std::min(part.column + kSumColumns, item.columns),
                    item.matrix + part.row * item.columns, item.basis + part.row * rank, part.sums,
                    totals.stride(part.item));
    }
  });
  parallel(items.size(), Cost(kSumRows * kSumColumns, rank) / 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t size = totals.stride(i) * rank;
      float* total = totals.data(i);
      for (size_t at = 0; at < sums[i].size(); at += size) {
        const float* sum = sums[i].data() + at;
        for (int64_t j = 0; j < size; ++j) total[j] += sum[j];
      }
    }
  });
  return totals;
}

}  // namespace

void Project(const std::vector<Projection>& items, float scale, int64_t rank, const ParallelFor& parallel) {
  Columns right = ReadColumns(items, rank);
  ForRows(items, rank, parallel, [&](size_t i, int64_t begin, int64_t end) {
    const Projection& item = items[i];
    const int64_t at = begin * item.columns;
    ProjectRows({end - begin, item.columns, rank}, item.gradient + at, scale, item.matrix + at, right.data(i),
                right.stride(i), item.product + begin * rank);
  });
}

void BackProject(const std::vector<BackProjection>& items, int64_t rank, const ParallelFor& parallel) {
  Columns right = TransposedProducts(items, rank, parallel);
  for (size_t i = 0; i < items.size(); ++i) right.Write(i, items[i].columns, items[i].factor);
  ForRows(items, rank, parallel, [&](size_t i, int64_t begin, int64_t end) {
    const BackProjection& item = items[i];
    SubtractProduct({end - begin, item.columns, rank}, item.basis + begin * rank, right.data(i),
                    right.stride(i), item.matrix + begin * item.columns);
  });
}

void Expand(const std::vector<Expansion>& items, float initial, int64_t rank, const ParallelFor& parallel) {
  Columns right = ReadColumns(items, rank);
  ForRows(items, rank, parallel, [&](size_t i, int64_t begin, int64_t end) {
    const Expansion& item = items[i];
    SetProduct({end - begin, item.columns, rank}, item.basis + begin * rank, right.data(i), right.stride(i),
               initial, item.product + begin * item.columns);
  });
}

}  // namespace tfdml
