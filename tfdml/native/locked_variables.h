// Resource variables that an op changes in place: locked, and written to only where nobody else sees it.

#ifndef TFDML_NATIVE_LOCKED_VARIABLES_H_
#define TFDML_NATIVE_LOCKED_VARIABLES_H_

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/vector_view.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/platform/mutex.h"

namespace tfdml {

// Some lists of float32 variables, each of them seen as one vector, for as long as this object lives.
class LockedVariables {
 public:
  // `inputs`: names of list inputs of resource handles, whose variables have the shapes of `like`.
  absl::Status Lock(tensorflow::OpKernelContext* context, const tensorflow::OpInputList& like,
                          std::initializer_list<const char*> inputs) {
    for (const char* input : inputs) TF_RETURN_IF_ERROR(LookUp(context, input));
    LockAll();
    for (size_t i = 0; i < variables_.size(); ++i) {
      TF_RETURN_IF_ERROR(Prepare(context, *variables_[i], like[i % like.size()].shape()));
      if (i % like.size() == 0) views_.emplace_back();
      tensorflow::Tensor* tensor = variables_[i]->tensor();
      views_.back().Append(tensor->flat<float>().data(), tensor->NumElements());
    }
    return absl::OkStatus();
  }

  // The same for one list of variables of any shapes.
  absl::Status Lock(tensorflow::OpKernelContext* context, const char* input) {
    TF_RETURN_IF_ERROR(LookUp(context, input));
    LockAll();
    views_.emplace_back();
    for (const auto& variable : variables_) {
      tensorflow::Tensor* tensor = variable->tensor();
      TF_RETURN_IF_ERROR(Prepare(context, *variable, tensor->shape()));
      views_.back().Append(tensor->flat<float>().data(), tensor->NumElements());
    }
    return absl::OkStatus();
  }

  // The vector of list number `list`.
  const VectorView<float>& view(int list) const { return views_[list]; }

  // The value of variable number `index`, counted through all lists.
  tensorflow::Tensor& tensor(size_t index) const { return *variables_[index]->tensor(); }

 private:
  absl::Status LookUp(tensorflow::OpKernelContext* context, const char* input) {
    tensorflow::OpInputList handles;
    TF_RETURN_IF_ERROR(context->input_list(input, &handles));
    for (const tensorflow::Tensor& handle : handles) {
      variables_.emplace_back();
      TF_RETURN_IF_ERROR(tensorflow::LookupResource(
          context, handle.scalar<tensorflow::ResourceHandle>()(), &variables_.back()));
    }
    return absl::OkStatus();
  }

  // In the order of their addresses, as TensorFlow's own ops do, so that two ops cannot wait for each other.
  void LockAll() {
    std::vector<tensorflow::mutex*> mutexes;
    for (const auto& variable : variables_) mutexes.push_back(variable->mu());
    std::sort(mutexes.begin(), mutexes.end());
    mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
    for (tensorflow::mutex* mutex : mutexes) {
      locks_.push_back(std::make_unique<tensorflow::mutex_lock>(*mutex));
    }
  }

  // A tensor that somebody has read shares its memory with the variable: such a variable gets memory of its own
  // first, and so does one that promises to copy on every read.
  absl::Status Prepare(tensorflow::OpKernelContext* context, tensorflow::Var& variable,
                             const tensorflow::TensorShape& shape) {
    tensorflow::Tensor* tensor = variable.tensor();
    if (!tensor->IsInitialized() || tensor->dtype() != tensorflow::DT_FLOAT || tensor->shape() != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("A variable must be an initialized float32 tensor of shape ", shape.DebugString(), ", got ",
                       variable.DebugString()));
    }
    if (tensor->RefCountIsOne() && !variable.copy_on_read_mode.load()) return absl::OkStatus();
    tensorflow::Tensor copy;
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, shape, &copy));
    if (shape.num_elements() > 0) {
      std::memcpy(copy.flat<float>().data(), tensor->flat<float>().data(), tensor->TotalBytes());
    }
    *tensor = copy;
    return absl::OkStatus();
  }

  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> variables_;
  std::vector<std::unique_ptr<tensorflow::mutex_lock>> locks_;  // Released before the variables.
  std::vector<VectorView<float>> views_;
};

// The tensors of a list input as one vector.
inline VectorView<const float> View(const tensorflow::OpInputList& tensors) {
  VectorView<const float> view;
  for (const tensorflow::Tensor& tensor : tensors) {
    view.Append(tensor.flat<float>().data(), tensor.NumElements());
  }
  return view;
}

}  // namespace tfdml

#endif  // TFDML_NATIVE_LOCKED_VARIABLES_H_
