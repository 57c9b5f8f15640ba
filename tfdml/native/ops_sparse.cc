// TensorFlow ops over the kernels of kernels/sparse.h. `k` is the number of values that a payload holds.

#include <algorithm>
#include <limits>
#include <list>
#include <vector>

#include "kernels/sparse.h"
#include "locked_variables.h"
#include "op_support.h"

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.
using shape_inference::InferenceContext;

// int32 [1, per_value * k + extra]
template <int per_value, int extra>
absl::Status WordsShape(InferenceContext* c) {
  int64_t k;
  TF_RETURN_IF_ERROR(c->GetAttr("k", &k));
  c->set_output(0, c->MakeShape({c->MakeDim(1), c->MakeDim(per_value * k + extra)}));
  return absl::OkStatus();
}

REGISTER_OP("TfdmlTopk")
    .Input("values: n * float")
    .Output("words: int32")
    .Attr("k: int >= 0")
    .Attr("n: int >= 1")
    .SetShapeFn(WordsShape<2, 0>);

REGISTER_OP("TfdmlTopkFeedback")
    .Input("values: n * float")
    .Input("residuals: n * resource")
    .Input("commit: bool")
    .Input("residual_scale: float")
    .Output("words: int32")
    .Attr("k: int >= 0")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(WordsShape<2, 0>);

REGISTER_OP("TfdmlTopkMomentum")
    .Input("values: n * float")
    .Input("velocities: n * resource")
    .Input("residuals: n * resource")
    .Input("commit: bool")
    .Input("momentum: float")
    .Output("words: int32")
    .Attr("k: int >= 0")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(WordsShape<2, 0>);

REGISTER_OP("TfdmlSumIndexed")
    .Input("words: int32")
    .Input("initial: float")
    .Output("sums: n * float")
    .Attr("shapes: list(shape)")
    .Attr("n: int >= 1")
    .SetShapeFn(OutputShapes);

REGISTER_OP("TfdmlRandomk")
    .Input("values: n * float")
    .Input("seed: int32")
    .Output("words: int32")
    .Attr("k: int >= 0")
    .Attr("unbiased: bool")
    .Attr("n: int >= 1")
    .SetShapeFn(WordsShape<1, 2>);

REGISTER_OP("TfdmlRandomkFeedback")
    .Input("values: n * float")
    .Input("residuals: n * resource")
    .Input("seed: int32")
    .Input("commit: bool")
    .Input("residual_scale: float")
    .Output("words: int32")
    .Attr("k: int >= 0")
    .Attr("unbiased: bool")
    .Attr("n: int >= 1")
    .SetIsStateful()
    .SetShapeFn(WordsShape<1, 2>);

REGISTER_OP("TfdmlSumRandom")
    .Input("words: int32")
    .Input("initial: float")
    .Output("sums: n * float")
    .Attr("shapes: list(shape)")
    .Attr("n: int >= 1")
    .SetShapeFn(OutputShapes);

// What the encoding ops have in common: Encode() writes the words of `values`.
class EncodeOp : public OpKernel {
 public:
  EncodeOp(OpKernelConstruction* construction, int per_value, int extra) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("k", &k_));
    num_words_ = per_value * k_ + extra;
  }

  void Compute(OpKernelContext* context) override {
    OpInputList values;
    OP_REQUIRES_OK(context, context->input_list("values", &values));
    const VectorView<const float> view = View(values);
    OP_REQUIRES(context, view.size() <= std::numeric_limits<int32>::max(),
                Invalid("A payload holds less than 2^31 values, got ", view.size()));
    OP_REQUIRES(context, k_ <= view.size(),
                Invalid("`k` must be at most ", view.size(), ", got ", k_));
    Tensor* words;
    OP_REQUIRES_OK(context, context->allocate_output(0, {1, num_words_}, &words));
    OP_REQUIRES_OK(context, Encode(context, values, view, words->flat<int32>().data()));
  }

 protected:
  virtual absl::Status Encode(OpKernelContext* context, const OpInputList& tensors,
                              const VectorView<const float>& values, int32* words) = 0;

  // Whether state may change. If not, the words become zeros, which can be decoded.
  absl::Status GetCommit(OpKernelContext* context, int32* words, bool* commit) {
    TF_RETURN_IF_ERROR(GetScalar(context, "commit", commit));
    if (!*commit) std::fill(words, words + num_words_, 0);
    return absl::OkStatus();
  }

  int64_t k_;

 private:
  int64_t num_words_;
};

class TopKOp : public EncodeOp {
 public:
  explicit TopKOp(OpKernelConstruction* construction) : EncodeOp(construction, 2, 0) {}

  absl::Status Encode(OpKernelContext* context, const OpInputList&, const VectorView<const float>& values,
                      int32* words) override {
    TopK(values, k_, Threads(context), words);
    return absl::OkStatus();
  }
};

class TopKFeedbackOp : public EncodeOp {
 public:
  explicit TopKFeedbackOp(OpKernelConstruction* construction) : EncodeOp(construction, 2, 0) {}

  absl::Status Encode(OpKernelContext* context, const OpInputList& tensors, const VectorView<const float>& values,
                      int32* words) override {
    bool commit;
    float scale;
    TF_RETURN_IF_ERROR(GetCommit(context, words, &commit));
    TF_RETURN_IF_ERROR(GetScalar(context, "residual_scale", &scale));
    if (!commit) return absl::OkStatus();
    LockedVariables variables;
    TF_RETURN_IF_ERROR(variables.Lock(context, tensors, {"residuals"}));
    TopKFeedback(values, variables.view(0), scale, k_, Threads(context), words);
    return absl::OkStatus();
  }
};

class TopKMomentumOp : public EncodeOp {
 public:
  explicit TopKMomentumOp(OpKernelConstruction* construction) : EncodeOp(construction, 2, 0) {}

  absl::Status Encode(OpKernelContext* context, const OpInputList& tensors, const VectorView<const float>& values,
                      int32* words) override {
    bool commit;
    float momentum;
    TF_RETURN_IF_ERROR(GetCommit(context, words, &commit));
    TF_RETURN_IF_ERROR(GetScalar(context, "momentum", &momentum));
    if (!commit) return absl::OkStatus();
    LockedVariables variables;
    TF_RETURN_IF_ERROR(variables.Lock(context, tensors, {"velocities", "residuals"}));
    TopKMomentum(values, variables.view(0), variables.view(1), momentum, k_, Threads(context), words);
    return absl::OkStatus();
  }
};

class RandomKOp : public EncodeOp {
 public:
  explicit RandomKOp(OpKernelConstruction* construction) : EncodeOp(construction, 1, 2) {
    OP_REQUIRES_OK(construction, construction->GetAttr("unbiased", &unbiased_));
  }

  absl::Status Encode(OpKernelContext* context, const OpInputList&, const VectorView<const float>& values,
                      int32* words) override {
    Seed seed;
    TF_RETURN_IF_ERROR(GetSeed(context, &seed.s0, &seed.s1));
    RandomK(values, k_, seed, unbiased_, Threads(context), words);
    return absl::OkStatus();
  }

 private:
  bool unbiased_;
};

class RandomKFeedbackOp : public EncodeOp {
 public:
  explicit RandomKFeedbackOp(OpKernelConstruction* construction) : EncodeOp(construction, 1, 2) {
    OP_REQUIRES_OK(construction, construction->GetAttr("unbiased", &unbiased_));
  }

  absl::Status Encode(OpKernelContext* context, const OpInputList& tensors, const VectorView<const float>& values,
                      int32* words) override {
    bool commit;
    float scale;
    Seed seed;
    TF_RETURN_IF_ERROR(GetCommit(context, words, &commit));
    TF_RETURN_IF_ERROR(GetScalar(context, "residual_scale", &scale));
    TF_RETURN_IF_ERROR(GetSeed(context, &seed.s0, &seed.s1));
    if (!commit) return absl::OkStatus();
    LockedVariables variables;
    TF_RETURN_IF_ERROR(variables.Lock(context, tensors, {"residuals"}));
    RandomKFeedback(values, variables.view(0), scale, k_, seed, unbiased_, Threads(context), words);
    return absl::OkStatus();
  }

 private:
  bool unbiased_;
};

// What the decoding ops have in common: Parse() finds indices and values in one payload.
class SumOp : public OpKernel {
 public:
  explicit SumOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("shapes", &shapes_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor* words;
    float initial;
    OP_REQUIRES_OK(context, context->input("words", &words));
    OP_REQUIRES_OK(context, GetScalar(context, "initial", &initial));
    OP_REQUIRES(context, words->dims() == 3 && words->dim_size(1) == 1,
                Invalid("`words` must have shape [payloads, 1, words], got ",
                                        words->shape().DebugString()));
    OP_REQUIRES(context, num_outputs() == static_cast<int>(shapes_.size()),
                Invalid("`shapes` must be ", num_outputs(), " shapes"));
    VectorView<float> outputs;
    for (int i = 0; i < num_outputs(); ++i) {
      Tensor* output;
      OP_REQUIRES_OK(context, context->allocate_output(i, shapes_[i], &output));
      outputs.Append(output->flat<float>().data(), output->NumElements());
    }
    State state;
    std::vector<SparsePayload> payloads;
    const int64_t size = words->dim_size(2);
    for (int64_t i = 0; i < words->dim_size(0); ++i) {
      payloads.emplace_back();
      const int32* payload = words->flat<int32>().data() + i * size;
      OP_REQUIRES_OK(context, Parse(context, payload, size, outputs.size(), &state, &payloads.back()));
    }
    OP_REQUIRES(context, SparseSum(payloads, initial, outputs, Threads(context)),
                Invalid("A payload is damaged: its indices must be ascending, and below ",
                                        outputs.size()));
  }

 protected:
  struct Drawn {
    Seed seed;
    std::vector<int32_t> positions;
  };
  using State = std::list<Drawn>;  // Positions of every seed that was met.

  virtual absl::Status Parse(OpKernelContext* context, const int32* words, int64_t num_words, int64_t size,
                             State* state, SparsePayload* payload) = 0;

 private:
  std::vector<TensorShape> shapes_;
};

class SumIndexedOp : public SumOp {
 public:
  using SumOp::SumOp;

  absl::Status Parse(OpKernelContext*, const int32* words, int64_t num_words, int64_t, State*,
                     SparsePayload* payload) override {
    if (num_words % 2 != 0) {
      return Invalid("A payload must have an even number of words, got ", num_words);
    }
    *payload = {words, words + num_words / 2, num_words / 2};
    return absl::OkStatus();
  }
};

class SumRandomOp : public SumOp {
 public:
  using SumOp::SumOp;

  absl::Status Parse(OpKernelContext* context, const int32* words, int64_t num_words, int64_t size,
                     State* state, SparsePayload* payload) override {
    const int64_t k = num_words - 2;
    if (k < 0 || k > size) {
      return Invalid("A payload must have 2 to ", size + 2, " words, got ", num_words);
    }
    const Seed seed = {static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1])};
    if (state->empty() || state->back().seed.s0 != seed.s0 || state->back().seed.s1 != seed.s1) {
      state->push_back({seed, RandomPositions(size, k, seed, Threads(context))});
    }
    *payload = {state->back().positions.data(), words + 2, k};
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlTopk").Device(DEVICE_CPU), TopKOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlTopkFeedback").Device(DEVICE_CPU), TopKFeedbackOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlTopkMomentum").Device(DEVICE_CPU), TopKMomentumOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlSumIndexed").Device(DEVICE_CPU), SumIndexedOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlRandomk").Device(DEVICE_CPU), RandomKOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlRandomkFeedback").Device(DEVICE_CPU), RandomKFeedbackOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlSumRandom").Device(DEVICE_CPU), SumRandomOp);

}  // namespace
}  // namespace tfdml
