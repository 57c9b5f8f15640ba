// How a kernel asks for threads without knowing TensorFlow: it gets a function that splits a range.

#ifndef TFDML_NATIVE_KERNELS_PARALLEL_H_
#define TFDML_NATIVE_KERNELS_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace tfdml {

// Work on the units [begin, end).
using RangeFn = std::function<void(int64_t begin, int64_t end)>;

// Calls the function for ranges that together are [0, total), perhaps at the same time in several threads, and
// returns when all are done. `cost_per_unit` is about the nanoseconds that one unit takes. A result must not
// depend on how the range was split.
using ParallelFor = std::function<void(int64_t total, int64_t cost_per_unit, const RangeFn& work)>;

// The same in the calling thread.
inline void SerialFor(int64_t total, int64_t, const RangeFn& work) {
  if (total > 0) work(0, total);
}

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_PARALLEL_H_
