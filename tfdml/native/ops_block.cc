// TensorFlow ops over the kernels of kernels/block.h and kernels/finite.h; block_format.py says what a format is.

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/block.h"
#include "kernels/finite.h"
#include "locked_variables.h"
#include "op_support.h"

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.
using shape_inference::InferenceContext;
using shape_inference::ShapeHandle;

template <typename Context>  // OpKernelConstruction or InferenceContext
absl::Status GetFormat(Context* context, BlockFormat* format) {
  std::string kind;
  int block;
  TF_RETURN_IF_ERROR(context->GetAttr("kind", &kind));
  TF_RETURN_IF_ERROR(context->GetAttr("bits", &format->bits));
  TF_RETURN_IF_ERROR(context->GetAttr("block", &block));
  TF_RETURN_IF_ERROR(context->GetAttr("stochastic", &format->stochastic));
  TF_RETURN_IF_ERROR(context->GetAttr("clip", &format->clip));
  format->block = block;
  format->kind = kind == "absmax" ? BlockKind::kAbsMax
                 : kind == "l2"   ? BlockKind::kL2
                 : kind == "sign" ? BlockKind::kSign
                 : kind == "fp16" ? BlockKind::kFp16
                                  : BlockKind::kBf16;
  if (!IsSupported(*format)) {
    return Invalid("There is no kernel for the format ", kind, " with bits ", format->bits, ", block ", block,
                   ", stochastic ", format->stochastic, ", clip ", format->clip);
  }
  return absl::OkStatus();
}

absl::Status WordsShape(InferenceContext* c) {
  BlockFormat format;
  int64_t chunks, num_values;
  TF_RETURN_IF_ERROR(GetFormat(c, &format));
  TF_RETURN_IF_ERROR(c->GetAttr("chunks", &chunks));
  TF_RETURN_IF_ERROR(c->GetAttr("n", &num_values));
  int64_t size = 0;
  for (int64_t i = 0; i < num_values; ++i) {
    const auto elements = c->NumElements(c->input(i));
    if (!c->ValueKnown(elements)) {
      c->set_output(0, c->Matrix(chunks, c->UnknownDim()));
      return absl::OkStatus();
    }
    size += c->Value(elements);
  }
  c->set_output(0, c->Matrix(chunks, format.PayloadWords(size, chunks)));
  return absl::OkStatus();
}

absl::Status RemainderShape(InferenceContext* c) {
  BlockFormat format;
  ShapeHandle values;
  TF_RETURN_IF_ERROR(GetFormat(c, &format));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &values));
  const auto size = c->Dim(values, 0);
  c->set_output(0, c->ValueKnown(size) ? c->Matrix(1, format.PayloadWords(c->Value(size), 1))
                                       : c->Matrix(1, c->UnknownDim()));
  return absl::OkStatus();
}

#define TFDML_FORMAT_ATTRS                                        \
  Attr("kind: {'absmax', 'l2', 'sign', 'fp16', 'bf16'}")          \
      .Attr("bits: int")                                          \
      .Attr("block: int")                                         \
      .Attr("stochastic: bool = false")                           \
      .Attr("clip: float = 0.0")

REGISTER_OP("TfdmlBlockEncode")
    .Input("values: n * float")
    .Input("seed: int32")
    .Output("words: int32")
    .TFDML_FORMAT_ATTRS.Attr("chunks: int >= 1 = 1")
    .Attr("n: int >= 1")
    .SetShapeFn(WordsShape);

REGISTER_OP("TfdmlBlockEncodeFeedback")
    .Input("values: n * float")
    .Input("residuals: n * resource")
    .Input("seed: int32")
    .Input("commit: bool")
    .Input("residual_scale: float")
    .Output("words: int32")
    .TFDML_FORMAT_ATTRS.Attr("chunks: int >= 1 = 1")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(WordsShape);

REGISTER_OP("TfdmlBlockEncodeRemainder")
    .Input("values: float")
    .Input("residuals: n * resource")
    .Input("offset: int64")
    .Input("seed: int32")
    .Input("commit: bool")
    .Output("words: int32")
    .TFDML_FORMAT_ATTRS.Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(RemainderShape);

REGISTER_OP("TfdmlBlockDecodeSum")
    .Input("words: int32")
    .Input("initial: float")
    .Output("sums: n * float")
    .TFDML_FORMAT_ATTRS.Attr("shapes: list(shape)")
    .Attr("n: int >= 1")
    .SetShapeFn(OutputShapes);

REGISTER_OP("TfdmlAllFinite")
    .Input("values: n * float")
    .Output("finite: bool")
    .Attr("n: int >= 1")
    .SetShapeFn(shape_inference::ScalarShape);

// What the three encoding ops have in common.
class BlockEncodeOp : public OpKernel {
 public:
  explicit BlockEncodeOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, GetFormat(construction, &format_));
    if (construction->HasAttr("chunks")) {
      OP_REQUIRES_OK(construction, construction->GetAttr("chunks", &chunks_));
    }
  }

  void Compute(OpKernelContext* context) override {
    OpInputList values;  // of one tensor where the op takes one
    OP_REQUIRES_OK(context, context->input_list("values", &values));
    const VectorView<const float> view = View(values);
    BlockPayload payload{format_, {}, chunks_, nullptr};
    uint32_t first, second;
    OP_REQUIRES_OK(context, GetSeed(context, &first, &second));
    payload.seed = BlockSeed::Mix(first, second);
    Tensor* words;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, {chunks_, format_.PayloadWords(view.size(), chunks_)}, &words));
    payload.words = words->flat<int32>().data();
    bool commit;
    OP_REQUIRES_OK(context, GetCommit(context, &commit));
    if (!commit) {
      // Nothing may change, and nobody looks at the words: zeros, which can be decoded.
      std::fill_n(payload.words, words->NumElements(), 0);
      return;
    }
    OP_REQUIRES_OK(context, Encode(context, values, view, payload));
  }

 protected:
  virtual absl::Status Encode(OpKernelContext* context, const OpInputList&,
                              const VectorView<const float>& values, const BlockPayload& payload) {
    BlockEncode(BestBlockKernels(), payload, values, Threads(context));
    return absl::OkStatus();
  }

  virtual absl::Status GetCommit(OpKernelContext*, bool* commit) {
    *commit = true;
    return absl::OkStatus();
  }

 private:
  BlockFormat format_;
  int64_t chunks_ = 1;
};

class BlockEncodeFeedbackOp : public BlockEncodeOp {
 public:
  using BlockEncodeOp::BlockEncodeOp;

 protected:
  absl::Status GetCommit(OpKernelContext* context, bool* commit) override {
    return GetScalar(context, "commit", commit);
  }

  absl::Status Encode(OpKernelContext* context, const OpInputList& tensors,
                      const VectorView<const float>& values, const BlockPayload& payload) override {
    float scale;
    TF_RETURN_IF_ERROR(GetScalar(context, "residual_scale", &scale));
    LockedVariables variables;
    TF_RETURN_IF_ERROR(variables.Lock(context, tensors, {"residuals"}));
    BlockEncodeFeedback(BestBlockKernels(), payload, values, variables.view(0), scale, Threads(context));
    return absl::OkStatus();
  }
};

class BlockEncodeRemainderOp : public BlockEncodeOp {
 public:
  using BlockEncodeOp::BlockEncodeOp;

 protected:
  absl::Status GetCommit(OpKernelContext* context, bool* commit) override {
    return GetScalar(context, "commit", commit);
  }

  absl::Status Encode(OpKernelContext* context, const OpInputList& tensors,
                      const VectorView<const float>& values, const BlockPayload& payload) override {
    int64_t offset;
    TF_RETURN_IF_ERROR(GetScalar(context, "offset", &offset));
    if (offset < 0) return Invalid("`offset` must not be negative, got ", offset);
    LockedVariables variables;
    TF_RETURN_IF_ERROR(variables.Lock(context, "residuals"));
    BlockEncodeRemainder(BestBlockKernels(), payload, tensors[0].flat<float>().data(), values.size(),
                         variables.view(0), offset, Threads(context));
    return absl::OkStatus();
  }
};

class BlockDecodeSumOp : public OpKernel {
 public:
  explicit BlockDecodeSumOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, GetFormat(construction, &format_));
    OP_REQUIRES_OK(construction, construction->GetAttr("shapes", &shapes_));
    OP_REQUIRES(construction, static_cast<int>(shapes_.size()) == construction->num_outputs(),
                Invalid("`shapes` must be ", construction->num_outputs(), " shapes"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor* words;
    float initial;
    OP_REQUIRES_OK(context, context->input("words", &words));
    OP_REQUIRES_OK(context, GetScalar(context, "initial", &initial));
    int64_t size = 0;
    for (const TensorShape& shape : shapes_) size += shape.num_elements();
    OP_REQUIRES(context, words->dims() == 3 && words->dim_size(1) > 0 &&
                             words->dim_size(2) == format_.PayloadWords(size, words->dim_size(1)),
                Invalid("`words` must be the payloads of ", size, " values, got the shape ",
                        words->shape().DebugString()));
    VectorView<float> sums;
    for (size_t i = 0; i < shapes_.size(); ++i) {
      Tensor* output;
      OP_REQUIRES_OK(context, context->allocate_output(i, shapes_[i], &output));
      sums.Append(output->flat<float>().data(), output->NumElements());
    }
    BlockDecodeSum(BestBlockKernels(), format_, words->flat<int32>().data(), words->dim_size(0),
                   words->dim_size(1), sums, initial, Threads(context));
  }

 private:
  BlockFormat format_;
  std::vector<TensorShape> shapes_;
};

class AllFiniteOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OpInputList values;
    OP_REQUIRES_OK(context, context->input_list("values", &values));
    Tensor* finite;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &finite));
    finite->scalar<bool>()() = AllFinite(View(values), Threads(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlBlockEncode").Device(DEVICE_CPU), BlockEncodeOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlBlockEncodeFeedback").Device(DEVICE_CPU), BlockEncodeFeedbackOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlBlockEncodeRemainder").Device(DEVICE_CPU), BlockEncodeRemainderOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlBlockDecodeSum").Device(DEVICE_CPU), BlockDecodeSumOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlAllFinite").Device(DEVICE_CPU), AllFiniteOp);

}  // namespace
}  // namespace tfdml
