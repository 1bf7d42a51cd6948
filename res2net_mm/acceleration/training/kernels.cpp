// Batch norm, addition and ReLU in one pass over memory, forwards and backwards, on a CPU; and the gradient of a
// convolution's weight, of which weight_gradient.h is the arithmetic.
//
// Of the norms every tensor is a matrix of pixels x channels: the channels of a pixel side by side, the pixels at any distance, so
// that it may be a slice of a wider one. Of every channel a norm is  z * scale + shift.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "weight_gradient.h"

using at::Tensor;
using Optional = c10::optional<Tensor>;

namespace {

constexpr int64_t SUMMED_AT_ONCE = 64;  // pixels whose sum is kept in the precision of the tensor, before a double

// What every entry asks of every tensor before memory is touched.
void check_matrix(const Tensor& tensor, const Tensor& z, const char* name) {
  TORCH_CHECK(tensor.layout() == at::kStrided && tensor.device().is_cpu() && !tensor.is_neg(), name,
              " is no plain tensor on a CPU");
  TORCH_CHECK(tensor.scalar_type() == z.scalar_type(), name, " is of ", tensor.scalar_type(), ", z of ", z.scalar_type());
  TORCH_CHECK(tensor.dim() == 2 && tensor.sizes() == z.sizes(), name, " is of shape ", tensor.sizes(), ", z of ",
              z.sizes(), ", which should be the same pixels x channels");
  TORCH_CHECK(tensor.stride(1) == 1 || tensor.size(1) == 1, name, " has the channels of a pixel not side by side");
}

void check_matrix(const Optional& tensor, const Tensor& z, const char* name) {
  if (tensor) check_matrix(*tensor, z, name);
}

void check_written(const Tensor& tensor, const Tensor& z, const char* name) {
  check_matrix(tensor, z, name);
  TORCH_CHECK(tensor.size(0) < 2 || tensor.stride(0) >= tensor.size(1), name, " has pixels that share memory");
}

void check_vector(const Tensor& tensor, const Tensor& z, const char* name) {
  TORCH_CHECK(tensor.layout() == at::kStrided && tensor.device().is_cpu() && !tensor.is_neg() &&
                  tensor.scalar_type() == z.scalar_type() && tensor.dim() == 1 && tensor.size(0) == z.size(1) &&
                  tensor.is_contiguous(),
              name, " is no vector of the channels and the type of z: ", tensor.sizes(), ' ', tensor.scalar_type(),
              " beside ", z.sizes(), ' ', z.scalar_type());
}

template <class T>
struct Pixels {  // nowhere, if there is no tensor
  T* data = nullptr;
  int64_t stride = 0;

  explicit Pixels(const Tensor& tensor) : data(tensor.data_ptr<T>()), stride(tensor.stride(0)) {}
  explicit Pixels(const Optional& tensor) {
    if (tensor) *this = Pixels(*tensor);
  }
  T* operator[](int64_t pixel) const { return data ? data + pixel * stride : nullptr; }
};

int64_t share(int64_t pixels) {  // of every thread
  return std::max<int64_t>(1, at::divup(pixels, at::get_num_threads()));
}

template <class F>
void over_pixels(int64_t pixels, const F& between) {  // between(first, end), an equal part for every thread
  at::parallel_for(0, pixels, share(pixels), between);
}

// Two sums over the pixels, of every channel, one after the other: add(pixel, first, second) adds what a pixel gives.
template <class T, class F>
std::vector<double> two_sums(int64_t pixels, int64_t channels, const F& add) {
  const int64_t size = 2 * channels, pixels_of_part = share(pixels), parts_count = at::divup(pixels, pixels_of_part);
  std::vector<double> parts(std::max<int64_t>(1, parts_count) * size);
  over_pixels(pixels, [&](int64_t first, int64_t end) {
    std::vector<double> part(size);
    std::vector<T> sum(size);
    for (int64_t start = first; start < end; start += SUMMED_AT_ONCE) {
      std::fill(sum.begin(), sum.end(), T(0));
      for (int64_t pixel = start; pixel < std::min(start + SUMMED_AT_ONCE, end); ++pixel)
        add(pixel, sum.data(), sum.data() + channels);
      for (int64_t i = 0; i < size; ++i) part[i] += sum[i];
    }
    std::copy(part.begin(), part.end(), parts.begin() + first / pixels_of_part * size);
  });
  for (int64_t i = size; i < static_cast<int64_t>(parts.size()); ++i) parts[i % size] += parts[i];
  parts.resize(size);
  return parts;
}

template <class T>
void compute_moments(const Tensor& z, Tensor& result) {
  const int64_t channels = z.size(1);
  const Pixels<T> input(z), output(result);
  // Squares are summed about the mean of some pixels, so that nothing cancels where values are far from zero.
  const int64_t sampled = std::min<int64_t>(z.size(0), 64);
  std::vector<T> near(channels);
  for (int64_t i = 0; i < sampled; ++i)
    for (int64_t c = 0; c < channels; ++c) near[c] += input[i * z.size(0) / sampled][c] / sampled;
  const T* pivot = near.data();
  const auto sums = two_sums<T>(z.size(0), channels, [&](int64_t pixel, T* __restrict sum, T* __restrict squares) {
    const T* row = input[pixel];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const T value = row[c] - pivot[c];
      sum[c] += value;
      squares[c] += value * value;
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    const double mean = sums[c] / z.size(0);
    output[0][c] = pivot[c] + mean;
    output[1][c] = std::max(0., sums[channels + c] / z.size(0) - mean * mean);
  }
}

// Mean and variance of every channel, 2 x channels.
Tensor moments(const Tensor& z) {
  check_matrix(z, z, "z");
  TORCH_CHECK(z.size(0) > 0, "z has no pixels");
  Tensor result = at::empty({2, z.size(1)}, z.options());
  AT_DISPATCH_FLOATING_TYPES(z.scalar_type(), "moments", [&] { compute_moments<scalar_t>(z, result); });
  return result;
}

template <class T, bool RELU_FIRST, bool ADDS, bool RELU_LAST>
void normalise_rows(const Tensor& z, const Tensor& scale, const Tensor& shift, const Optional& addend, Tensor& out) {
  const int64_t channels = z.size(1);
  const Pixels<T> input(z), added(addend), output(out);
  const T *scales = scale.data_ptr<T>(), *shifts = shift.data_ptr<T>();
  over_pixels(z.size(0), [&](int64_t first, int64_t end) {
    for (int64_t pixel = first; pixel < end; ++pixel) {
      const T *row = input[pixel], *other = added[pixel];
      T* to = output[pixel];
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        T value = row[c] * scales[c] + shifts[c];
        if (RELU_FIRST) value = value < 0 ? 0 : value;
        if (ADDS) value += other[c];
        if (RELU_LAST) value = value < 0 ? 0 : value;
        to[c] = value;
      }
    }
  });
}

// out = norm(z) [ReLU] [+ addend] [ReLU]; what is not a number stays so, as in PyTorch
void normalise(const Tensor& z, const Tensor& scale, const Tensor& shift, Tensor out, const Optional& addend,
               bool relu_first, bool relu_last) {
  TORCH_CHECK(!(relu_first && relu_last), "one ReLU, before the addition or after it");
  check_matrix(z, z, "z");
  check_written(out, z, "out");
  check_matrix(addend, z, "addend");
  check_vector(scale, z, "scale");
  check_vector(shift, z, "shift");
  AT_DISPATCH_FLOATING_TYPES(z.scalar_type(), "normalise", [&] {
    auto run = relu_first ? (addend ? normalise_rows<scalar_t, true, true, false>
                                    : normalise_rows<scalar_t, true, false, false>)
               : relu_last ? (addend ? normalise_rows<scalar_t, false, true, true>
                                     : normalise_rows<scalar_t, false, false, true>)
                           : (addend ? normalise_rows<scalar_t, false, true, false>
                                     : normalise_rows<scalar_t, false, false, false>);
    run(z, scale, shift, addend, out);
  });
}

// The gradient of z is  (grad [+ grad2], where it is not masked) * scale + z * slope + offset.
template <class T, bool ADDS, bool OWN_MASK, bool MASKED>
void backward_rows(const Tensor& grad, const Optional& grad2, const Optional& addend, const Tensor& z,
                   const Tensor& scale, const Tensor& shift, const Tensor& mean, const Tensor& invstd, bool statistics,
                   const Optional& masked, Tensor& out, Tensor& affine) {
  const int64_t channels = z.size(1);
  const Pixels<T> input(z), grads(grad), grads2(grad2), added(addend), kept(masked), output(out), gradients(affine);
  const T *scales = scale.data_ptr<T>(), *shifts = shift.data_ptr<T>(), *means = mean.data_ptr<T>();

  const auto sums = two_sums<T>(z.size(0), channels, [&](int64_t pixel, T* __restrict sum, T* __restrict products) {
    const T *row = input[pixel], *from = grads[pixel], *from2 = grads2[pixel], *other = added[pixel];
    T* keep = kept[pixel];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      T value = from[c];
      if (ADDS) value += from2[c];
      if (MASKED) keep[c] = value = row[c] * scales[c] + shifts[c] + other[c] <= 0 ? 0 : value;
      if (OWN_MASK) value = row[c] * scales[c] + shifts[c] <= 0 ? 0 : value;
      sum[c] += value;
      products[c] += value * (row[c] - means[c]);
    }
  });
  std::vector<T> slopes(channels), offsets(channels);
  for (int64_t c = 0; c < channels; ++c) {
    const double spread = invstd.data_ptr<T>()[c], grad_weight = sums[channels + c] * spread;
    gradients[0][c] = sums[c];
    gradients[1][c] = grad_weight;
    if (statistics) {
      slopes[c] = -scales[c] * spread * grad_weight / z.size(0);
      offsets[c] = scales[c] * (means[c] * spread * grad_weight - sums[c]) / z.size(0);
    }
  }
  const T *slope = slopes.data(), *offset = offsets.data();
  over_pixels(z.size(0), [&](int64_t first, int64_t end) {
    for (int64_t pixel = first; pixel < end; ++pixel) {
      const T *row = input[pixel], *from = MASKED ? kept[pixel] : grads[pixel], *from2 = grads2[pixel];
      T* to = output[pixel];
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        T value = from[c];
        if (ADDS) value += from2[c];
        if (OWN_MASK) value = row[c] * scales[c] + shifts[c] <= 0 ? 0 : value;
        value *= scales[c];
        to[c] = statistics ? value + row[c] * slope[c] + offset[c] : value;
      }
    }
  });
}

// Returns the gradients of bias and weight, 2 x channels; writes that of z to out, and the masked gradient to masked.
Tensor normalise_backward(const Tensor& grad, const Optional& grad2, const Optional& addend, bool relu,
                          const Tensor& z, const Tensor& scale, const Tensor& shift, const Tensor& mean,
                          const Tensor& invstd, bool statistics, const Optional& masked, Tensor out) {
  TORCH_CHECK(addend.has_value() == masked.has_value() && !(addend && (grad2 || !relu)), "no such combination");
  check_matrix(z, z, "z");
  check_matrix(grad, z, "grad");
  check_matrix(grad2, z, "grad2");
  check_matrix(addend, z, "addend");
  check_written(out, z, "out");
  if (masked) check_written(*masked, z, "masked");
  check_vector(scale, z, "scale");
  check_vector(shift, z, "shift");
  check_vector(mean, z, "mean");
  check_vector(invstd, z, "invstd");
  Tensor affine = at::empty({2, z.size(1)}, z.options());
  AT_DISPATCH_FLOATING_TYPES(z.scalar_type(), "normalise_backward", [&] {
    auto run = addend   ? backward_rows<scalar_t, false, false, true>
               : relu   ? (grad2 ? backward_rows<scalar_t, true, true, false>
                                 : backward_rows<scalar_t, false, true, false>)
                        : (grad2 ? backward_rows<scalar_t, true, false, false>
                                 : backward_rows<scalar_t, false, false, false>);
    run(grad, grad2, addend, z, scale, shift, mean, invstd, statistics, masked, out, affine);
  });
  return affine;
}

void check_feature_map(const Tensor& tensor, const Tensor& grad, const char* name) {
  TORCH_CHECK(tensor.layout() == at::kStrided && tensor.device().is_cpu() && !tensor.is_neg() && tensor.dim() == 4 &&
                  tensor.scalar_type() == grad.scalar_type() && tensor.size(0) == grad.size(0) &&
                  tensor.is_contiguous(at::MemoryFormat::ChannelsLast),
              name, " is no feature map in channels last of as many images, and of the type, as grad: ", tensor.sizes(),
              ' ', tensor.scalar_type());
}

// The gradient of the weight of a convolution without groups, of its input and its output's gradient.
Tensor weight_gradient_of(const Tensor& input, const Tensor& grad, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                          at::IntArrayRef padding, at::IntArrayRef dilation) {
  check_feature_map(grad, grad, "grad");
  check_feature_map(input, grad, "input");
  for (int64_t i = 0; i < 2; ++i) {
    TORCH_CHECK(kernel_size[i] > 0 && stride[i] > 0 && padding[i] >= 0 && dilation[i] > 0, "no such convolution");
    const int64_t room = input.size(2 + i) + 2 * padding[i] - dilation[i] * (kernel_size[i] - 1) - 1;
    TORCH_CHECK(room >= 0 && grad.size(2 + i) == room / stride[i] + 1, "grad is of ", grad.sizes(), ", and not of the "
                "size that the convolution makes of ", input.sizes());
  }
  if (grad.numel() == 0 || input.numel() == 0)
    return at::zeros({grad.size(1), input.size(1), kernel_size[0], kernel_size[1]}, grad.options());
  const weight_gradient::Geometry geometry{
      input.size(0), input.size(2), input.size(3), input.size(1), grad.size(2), grad.size(3), grad.size(1),
      kernel_size[0], kernel_size[1], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1]};
  Tensor result = at::empty({grad.size(1), input.size(1), kernel_size[0], kernel_size[1]},
                            grad.options().memory_format(at::MemoryFormat::Contiguous));
  AT_DISPATCH_FLOATING_TYPES(grad.scalar_type(), "weight_gradient", [&] {
    weight_gradient::compute<scalar_t>(geometry, input, grad, result);
  });
  return result;
}

}  // namespace

TORCH_LIBRARY(res2net_mm, library) {
  library.def("moments(Tensor z) -> Tensor", &moments);
  library.def("normalise(Tensor z, Tensor scale, Tensor shift, Tensor(a!) out, Tensor? addend, bool relu_first, "
              "bool relu_last) -> ()", &normalise);
  library.def("normalise_backward(Tensor grad, Tensor? grad2, Tensor? addend, bool relu, Tensor z, Tensor scale, "
              "Tensor shift, Tensor mean, Tensor invstd, bool statistics, Tensor(a!)? masked, Tensor(b!) out) -> Tensor",
              &normalise_backward);
  library.def("weight_gradient(Tensor input, Tensor grad, int[2] kernel_size, int[2] stride, int[2] padding, "
              "int[2] dilation) -> Tensor", &weight_gradient_of);
}
