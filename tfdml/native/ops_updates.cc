// Updates of some rows of a table, under the locks of the table and its slots: what TensorFlow has no op for.

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/adam_rows.h"
#include "op_support.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/platform/mutex.h"

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.
using shape_inference::InferenceContext;

REGISTER_OP("TfdmlSparseAdam")
    .Input("variable: resource")
    .Input("momentum: resource")
    .Input("velocity: resource")
    .Input("gradient: float")
    .Input("indices: Index")
    .Input("alpha: float")
    .Input("beta_1: float")
    .Input("beta_2: float")
    .Input("epsilon: float")
    .Attr("Index: {int32, int64}")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      shape_inference::ShapeHandle indices;
      return c->WithRank(c->input(4), 1, &indices);
    });

// Variables whose rows an op changes in place, locked for as long as this object lives. Unlike LockedVariables it
// copies no table in each call: from the first call on they are in TensorFlow's copy-on-read mode, in which nobody
// shares the memory of a variable. TensorFlow's own sparse ops do the same.
class LockedTables {
 public:
  absl::Status Lock(OpKernelContext* context, const std::vector<int>& inputs) {
    for (int input : inputs) {
      tables_.emplace_back();
      TF_RETURN_IF_ERROR(LookupResource(context, HandleFromInput(context, input), &tables_.back()));
    }
    std::vector<mutex*> mutexes;
    for (const auto& table : tables_) mutexes.push_back(table->mu());
    std::sort(mutexes.begin(), mutexes.end());  // So two ops cannot wait for each other.
    mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
    for (mutex* one : mutexes) locks_.push_back(std::make_unique<mutex_lock>(*one));
    for (const auto& table : tables_) TF_RETURN_IF_ERROR(Prepare(context, *table));
    return absl::OkStatus();
  }

  const Tensor& tensor(int i) const { return *tables_[i]->tensor(); }
  float* data(int i) const { return tables_[i]->tensor()->flat<float>().data(); }

 private:
  absl::Status Prepare(OpKernelContext* context, Var& table) {
    Tensor* tensor = table.tensor();
    const TensorShape& shape = tables_[0]->tensor()->shape();
    if (!tensor->IsInitialized() || tensor->dtype() != DT_FLOAT || tensor->dims() < 1 || tensor->shape() != shape) {
      return Invalid("A table and its slots must be initialized float32 tensors of one shape, got ",
                     table.DebugString());
    }
    if (table.copy_on_read_mode.load()) return absl::OkStatus();
    if (!tensor->RefCountIsOne()) {
      Tensor copy;
      TF_RETURN_IF_ERROR(context->allocate_temp(DT_FLOAT, shape, &copy));
      if (shape.num_elements() > 0) {
        std::memcpy(copy.flat<float>().data(), tensor->flat<float>().data(), tensor->TotalBytes());
      }
      *tensor = copy;
    }
    table.copy_on_read_mode.store(true);
    return absl::OkStatus();
  }

  std::vector<core::RefCountPtr<Var>> tables_;
  std::vector<std::unique_ptr<mutex_lock>> locks_;  // Released before the variables.
};

template <typename Index>
class SparseAdamOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& gradient = context->input(3);
    const Tensor& indices = context->input(4);
    AdamSettings settings;
    OP_REQUIRES_OK(context, GetScalar(context, "alpha", &settings.alpha));
    OP_REQUIRES_OK(context, GetScalar(context, "beta_1", &settings.beta_1));
    OP_REQUIRES_OK(context, GetScalar(context, "beta_2", &settings.beta_2));
    OP_REQUIRES_OK(context, GetScalar(context, "epsilon", &settings.epsilon));
    LockedTables tables;
    OP_REQUIRES_OK(context, tables.Lock(context, {0, 1, 2}));
    TensorShape expected = tables.tensor(0).shape();
    const int64_t num_rows = expected.dim_size(0);
    expected.set_dim(0, indices.NumElements());
    OP_REQUIRES(context, indices.dims() == 1 && gradient.shape() == expected,
                Invalid("`gradient` must have a row of the table for each of `indices`, ", expected.DebugString(),
                        ", got ", gradient.shape().DebugString()));
    if (gradient.NumElements() == 0) return;
    const Index* rows = indices.flat<Index>().data();
    const int64_t outside = FirstOutside(rows, indices.NumElements(), num_rows);
    OP_REQUIRES(context, outside < 0,
                Invalid("indices[", outside, "] = ", rows[std::max<int64_t>(outside, 0)], " is not in [0, ", num_rows,
                        ")"));
    AdamRows(tables.data(0), tables.data(1), tables.data(2), gradient.flat<float>().data(), rows,
             indices.NumElements(), gradient.NumElements() / indices.NumElements(), settings, Threads(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlSparseAdam").Device(DEVICE_CPU).TypeConstraint<int32>("Index"),
                        SparseAdamOp<int32>);
REGISTER_KERNEL_BUILDER(Name("TfdmlSparseAdam").Device(DEVICE_CPU).TypeConstraint<int64_t>("Index"),
                        SparseAdamOp<int64_t>);

}  // namespace
}  // namespace tfdml
