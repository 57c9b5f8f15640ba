// What the files of ops share: errors, scalar inputs, the shapes of sums, and TensorFlow's threads.

#ifndef TFDML_NATIVE_OP_SUPPORT_H_
#define TFDML_NATIVE_OP_SUPPORT_H_

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/parallel.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/denormal.h"
#include "tensorflow/core/platform/setround.h"

namespace tfdml {

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// For ops whose outputs have the shapes of the attribute `shapes`.
inline absl::Status OutputShapes(tensorflow::shape_inference::InferenceContext* c) {
  std::vector<tensorflow::PartialTensorShape> shapes;
  TF_RETURN_IF_ERROR(c->GetAttr("shapes", &shapes));
  for (size_t i = 0; i < shapes.size(); ++i) {
    tensorflow::shape_inference::ShapeHandle shape;
    TF_RETURN_IF_ERROR(c->MakeShapeFromPartialTensorShape(shapes[i], &shape));
    c->set_output(i, shape);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status GetScalar(tensorflow::OpKernelContext* context, const char* name, T* value) {
  const tensorflow::Tensor* tensor;
  TF_RETURN_IF_ERROR(context->input(name, &tensor));
  if (tensor->NumElements() != 1) {
    return Invalid("`", name, "` must be a scalar, got ", tensor->shape().DebugString());
  }
  *value = tensor->flat<T>()(0);
  return absl::OkStatus();
}

inline absl::Status GetSeed(tensorflow::OpKernelContext* context, uint32_t* first, uint32_t* second) {
  const tensorflow::Tensor* tensor;
  TF_RETURN_IF_ERROR(context->input("seed", &tensor));
  if (tensor->NumElements() != 2) {
    return Invalid("`seed` must have shape [2], got ", tensor->shape().DebugString());
  }
  const auto words = tensor->flat<tensorflow::int32>();
  *first = static_cast<uint32_t>(words(0));
  *second = static_cast<uint32_t>(words(1));
  return absl::OkStatus();
}

// Subnormal numbers are zeros, as in TensorFlow's own ops: also on a thread that is not TensorFlow's.
inline ParallelFor Threads(tensorflow::OpKernelContext* context) {
  auto* pool = context->device()->tensorflow_cpu_worker_threads()->workers;
  return [pool](int64_t total, int64_t cost, const RangeFn& work) {
    pool->ParallelFor(total, cost, [&work](int64_t begin, int64_t end) {
      const tensorflow::port::ScopedFlushDenormal flush;
      const tensorflow::port::ScopedSetRound round(FE_TONEAREST);
      work(begin, end);
    });
  };
}

}  // namespace tfdml

#endif  // TFDML_NATIVE_OP_SUPPORT_H_
