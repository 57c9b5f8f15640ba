// TensorFlow ops over the kernels of kernels/lowrank.h. A tensor of `shapes`, [..., columns], is a matrix of
// [rows, columns]; the thin matrices of all of them are one flat tensor, one after the other.

#include <algorithm>
#include <vector>

#include "kernels/lowrank.h"
#include "locked_variables.h"
#include "op_support.h"

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.
using shape_inference::InferenceContext;

// What the attributes of all these ops say.
struct Matrices {
  std::vector<TensorShape> shapes;
  int64_t rank = 0;
  std::vector<int64_t> rows, columns, elements;
  int64_t left_size = 0, right_size = 0;  // Elements of the thin matrices, all together.

  template <typename Context>  // OpKernelConstruction or InferenceContext
  absl::Status Get(Context* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("shapes", &shapes));
    TF_RETURN_IF_ERROR(context->GetAttr("rank", &rank));
    for (const TensorShape& shape : shapes) {
      if (shape.dims() == 0) return Invalid("A matrix has at least one dimension, got a scalar");
      const int64_t last = shape.dim_size(shape.dims() - 1);
      elements.push_back(shape.num_elements());
      columns.push_back(last);
      rows.push_back(last == 0 ? 0 : shape.num_elements() / last);
      left_size += rows.back() * rank;
      right_size += last * rank;
    }
    return absl::OkStatus();
  }

  size_t size() const { return shapes.size(); }
};

absl::Status LeftShape(InferenceContext* c) {
  Matrices matrices;
  TF_RETURN_IF_ERROR(matrices.Get(c));
  c->set_output(0, c->Vector(matrices.left_size));
  return absl::OkStatus();
}

absl::Status RightShape(InferenceContext* c) {
  Matrices matrices;
  TF_RETURN_IF_ERROR(matrices.Get(c));
  c->set_output(0, c->Vector(matrices.right_size));
  return absl::OkStatus();
}

REGISTER_OP("TfdmlLowrankProject")
    .Input("gradients: n * float")
    .Input("residuals: n * resource")
    .Input("factors: n * resource")
    .Input("commit: bool")
    .Input("residual_scale: float")
    .Output("products: float")
    .Attr("shapes: list(shape)")
    .Attr("rank: int >= 1")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(LeftShape);

REGISTER_OP("TfdmlLowrankOrthogonalise")
    .Input("products: float")
    .Output("bases: float")
    .Attr("shapes: list(shape)")
    .Attr("rank: int >= 1")
    .SetShapeFn(LeftShape);

REGISTER_OP("TfdmlLowrankBackProject")
    .Input("bases: float")
    .Input("residuals: n * resource")
    .Input("commit: bool")
    .Output("own: float")
    .Attr("shapes: list(shape)")
    .Attr("rank: int >= 1")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(RightShape);

REGISTER_OP("TfdmlLowrankKeepFactors")
    .Input("totals: float")
    .Input("factors: n * resource")
    .Input("commit: bool")
    .Attr("shapes: list(shape)")
    .Attr("rank: int >= 1")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(shape_inference::NoOutputs);

REGISTER_OP("TfdmlLowrankExpand")
    .Input("bases: float")
    .Input("totals: float")
    .Input("initial: float")
    .Output("sums: n * float")
    .Attr("shapes: list(shape)")
    .Attr("rank: int >= 1")
    .Attr("n: int >= 1")
    .SetShapeFn(OutputShapes);

class LowRankOp : public OpKernel {
 public:
  explicit LowRankOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, matrices_.Get(construction));
    int64_t n = matrices_.size();
    if (construction->HasAttr("n")) OP_REQUIRES_OK(construction, construction->GetAttr("n", &n));
    OP_REQUIRES(construction, n == static_cast<int64_t>(matrices_.size()),
                Invalid("`shapes` must be ", n, " shapes, got ", matrices_.size()));
  }

  void Compute(OpKernelContext* context) override { OP_REQUIRES_OK(context, Run(context)); }

 protected:
  virtual absl::Status Run(OpKernelContext* context) = 0;

  static absl::Status GetThin(OpKernelContext* context, const char* name, int64_t size, const float** data) {
    const Tensor* tensor;
    TF_RETURN_IF_ERROR(context->input(name, &tensor));
    if (tensor->NumElements() != size) {
      return Invalid("`", name, "` must be ", size, " values, got ", tensor->shape().DebugString());
    }
    *data = tensor->flat<float>().data();
    return absl::OkStatus();
  }

  // What is not committed changes nothing, and nobody looks at the output: zeros, which can be added up.
  static absl::Status AllocateThin(OpKernelContext* context, int64_t size, bool commit, float** data) {
    Tensor* tensor;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {size}, &tensor));
    *data = tensor->flat<float>().data();
    if (!commit) std::fill_n(*data, size, 0.0f);
    return absl::OkStatus();
  }

  // The variables of the list input `name`, of `sizes` elements each and `times` as many.
  static absl::Status Lock(OpKernelContext* context, const char* name, const std::vector<int64_t>& sizes,
                           int64_t times, LockedVariables* variables, std::vector<float*>* data) {
    TF_RETURN_IF_ERROR(variables->Lock(context, name));
    for (size_t i = 0; i < sizes.size(); ++i) {
      auto variable = variables->tensor(i).flat<float>();
      if (variable.size() != sizes[i] * times) {
        return Invalid("The variables of `", name, "` must be of the sizes that `shapes` and `rank` say");
      }
      data->push_back(variable.data());
    }
    return absl::OkStatus();
  }

  Matrices matrices_;
};

class ProjectOp : public LowRankOp {
 public:
  using LowRankOp::LowRankOp;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    OpInputList gradients;
    bool commit;
    float scale, *product;
    TF_RETURN_IF_ERROR(context->input_list("gradients", &gradients));
    TF_RETURN_IF_ERROR(GetScalar(context, "commit", &commit));
    TF_RETURN_IF_ERROR(GetScalar(context, "residual_scale", &scale));
    TF_RETURN_IF_ERROR(AllocateThin(context, matrices_.left_size, commit, &product));
    if (!commit) return absl::OkStatus();
    LockedVariables locked_residuals, locked_factors;
    std::vector<float*> residuals, factors;
    TF_RETURN_IF_ERROR(Lock(context, "residuals", matrices_.elements, 1, &locked_residuals, &residuals));
    TF_RETURN_IF_ERROR(Lock(context, "factors", matrices_.columns, matrices_.rank, &locked_factors, &factors));
    std::vector<Projection> items;
    for (size_t i = 0; i < matrices_.size(); ++i) {
      if (gradients[i].shape() != matrices_.shapes[i]) {
        return Invalid("A gradient must have shape ", matrices_.shapes[i].DebugString(), ", got ",
                       gradients[i].shape().DebugString());
      }
      items.push_back({matrices_.rows[i], matrices_.columns[i], gradients[i].flat<float>().data(),
                       residuals[i], factors[i], product});
      product += matrices_.rows[i] * matrices_.rank;
    }
    Project(items, scale, matrices_.rank, Threads(context));
    return absl::OkStatus();
  }
};

class OrthogonaliseOp : public LowRankOp {
 public:
  using LowRankOp::LowRankOp;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    const float* product;
    float* basis;
    TF_RETURN_IF_ERROR(GetThin(context, "products", matrices_.left_size, &product));
    TF_RETURN_IF_ERROR(AllocateThin(context, matrices_.left_size, true, &basis));
    std::vector<Basis> items;
    for (const int64_t rows : matrices_.rows) {
      items.push_back({rows, product, basis});
      product += rows * matrices_.rank;
      basis += rows * matrices_.rank;
    }
    Orthogonalise(items, matrices_.rank, Threads(context));
    return absl::OkStatus();
  }
};

class BackProjectOp : public LowRankOp {
 public:
  using LowRankOp::LowRankOp;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    bool commit;
    const float* basis;
    float* own;
    TF_RETURN_IF_ERROR(GetThin(context, "bases", matrices_.left_size, &basis));
    TF_RETURN_IF_ERROR(GetScalar(context, "commit", &commit));
    TF_RETURN_IF_ERROR(AllocateThin(context, matrices_.right_size, commit, &own));
    if (!commit) return absl::OkStatus();
    LockedVariables locked;
    std::vector<float*> residuals;
    TF_RETURN_IF_ERROR(Lock(context, "residuals", matrices_.elements, 1, &locked, &residuals));
    std::vector<BackProjection> items;
    for (size_t i = 0; i < matrices_.size(); ++i) {
      items.push_back({matrices_.rows[i], matrices_.columns[i], basis, residuals[i], own});
      basis += matrices_.rows[i] * matrices_.rank;
      own += matrices_.columns[i] * matrices_.rank;
    }
    BackProject(items, matrices_.rank, Threads(context));
    return absl::OkStatus();
  }
};

class KeepFactorsOp : public LowRankOp {
 public:
  using LowRankOp::LowRankOp;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    bool commit;
    const float* total;
    TF_RETURN_IF_ERROR(GetThin(context, "totals", matrices_.right_size, &total));
    TF_RETURN_IF_ERROR(GetScalar(context, "commit", &commit));
    if (!commit) return absl::OkStatus();
    LockedVariables locked;
    std::vector<float*> factors;
    TF_RETURN_IF_ERROR(Lock(context, "factors", matrices_.columns, matrices_.rank, &locked, &factors));
    for (size_t i = 0; i < matrices_.size(); ++i) {
      KeepFactor(matrices_.columns[i], matrices_.rank, total, factors[i]);
      total += matrices_.columns[i] * matrices_.rank;
    }
    return absl::OkStatus();
  }
};

class ExpandOp : public LowRankOp {
 public:
  using LowRankOp::LowRankOp;

 protected:
  absl::Status Run(OpKernelContext* context) override {
    float initial;
    const float *basis, *total;
    TF_RETURN_IF_ERROR(GetThin(context, "bases", matrices_.left_size, &basis));
    TF_RETURN_IF_ERROR(GetThin(context, "totals", matrices_.right_size, &total));
    TF_RETURN_IF_ERROR(GetScalar(context, "initial", &initial));
    std::vector<Expansion> items;
    for (size_t i = 0; i < matrices_.size(); ++i) {
      Tensor* sum;
      TF_RETURN_IF_ERROR(context->allocate_output(i, matrices_.shapes[i], &sum));
      items.push_back({matrices_.rows[i], matrices_.columns[i], basis, total, sum->flat<float>().data()});
      basis += matrices_.rows[i] * matrices_.rank;
      total += matrices_.columns[i] * matrices_.rank;
    }
    Expand(items, initial, matrices_.rank, Threads(context));
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlLowrankProject").Device(DEVICE_CPU), ProjectOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlLowrankOrthogonalise").Device(DEVICE_CPU), OrthogonaliseOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlLowrankBackProject").Device(DEVICE_CPU), BackProjectOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlLowrankKeepFactors").Device(DEVICE_CPU), KeepFactorsOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlLowrankExpand").Device(DEVICE_CPU), ExpandOp);

}  // namespace
}  // namespace tfdml
