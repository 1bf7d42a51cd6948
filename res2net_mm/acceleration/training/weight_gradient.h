// The gradient of a convolution's weight, on a CPU, for feature maps in channels last.
//
//   gradient[o][ky][kx][c] = sum over images and output pixels (y, x) of
//       grad[y][x][o] * input[y * stride + ky * dilation - padding][x * stride + kx * dilation - padding][c]
//
// Some rows of an output, or several small outputs, are taken at once, and what they see of the input is copied with its
// padding, so that no pixel of the sum is at an edge. In a row of that copy the channels of neighbouring taps lie side
// by side: they are the lanes of vectors. Registers hold the sums of a few output channels times two vectors while all
// pixels of the block pass by.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace weight_gradient {

#ifdef __AVX512F__
constexpr int VECTOR_BYTES = 64;
#else
constexpr int VECTOR_BYTES = 32;
#endif
constexpr int CHANNELS = 6, VECTORS = 2;  // 12 sums, 2 vectors of the input, a value of grad: 15 of 16 registers
constexpr int64_t PIXELS = 112;           // of a block, about: what is copied of them stays in the second cache

struct Geometry {
  int64_t images, in_height, in_width, in_channels, height, width, channels;  // the latter three of the output
  int64_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;

  // Of the copy, in values: a row, and the rows that some rows of an output see.
  int64_t row_size() const { return (in_width + 2 * padding_x) * in_channels; }
  int64_t rows_seen(int64_t rows) const { return (rows - 1) * stride_y + (kernel_height - 1) * dilation_y + 1; }
  // Undilated, the taps of a row of the kernel are one run of values that lie side by side; else each is one.
  int64_t runs() const { return dilation_x == 1 ? 1 : kernel_width; }
  int64_t run_length() const { return kernel_width / runs() * in_channels; }
};

// The pixels of a block as the innermost loop sees them: how many, and their distances in the copy and in grad.
struct Block {
  int64_t images, rows, columns;
  int64_t input_image, input_row, input_column, grad_image, grad_row, grad_column;
};

template <class T>
struct Lanes {
  static constexpr int64_t COUNT = VECTOR_BYTES / sizeof(T);
  typedef T Vector __attribute__((vector_size(VECTOR_BYTES), aligned(alignof(T)), may_alias));
};

// sums[i][lane] += grad[i] * input[lane], over all pixels of a block
template <class T, int COUNT, int WIDTH>
void add_products(const T* input, const T* grad, const Block& block, T* sums, int64_t distance) {
  using Vector = typename Lanes<T>::Vector;
  constexpr int64_t LANES = Lanes<T>::COUNT;
  Vector sum[COUNT][WIDTH] = {};
  for (int64_t image = 0; image < block.images; ++image)
    for (int64_t y = 0; y < block.rows; ++y) {
      const T* in = input + image * block.input_image + y * block.input_row;
      const T* from = grad + image * block.grad_image + y * block.grad_row;
      for (int64_t x = 0; x < block.columns; ++x, in += block.input_column, from += block.grad_column) {
        Vector values[WIDTH];
#pragma GCC unroll 2
        for (int j = 0; j < WIDTH; ++j) values[j] = *reinterpret_cast<const Vector*>(in + j * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < COUNT; ++i)
#pragma GCC unroll 2
          for (int j = 0; j < WIDTH; ++j) sum[i][j] += from[i] * values[j];
      }
    }
  for (int i = 0; i < COUNT; ++i)
    for (int j = 0; j < WIDTH; ++j) *reinterpret_cast<Vector*>(sums + i * distance + j * LANES) += sum[i][j];
}

// The same for a number of output channels, up to COUNT, and of vectors, up to VECTORS, that are known when it runs.
template <class T, int COUNT = CHANNELS>
void add_channels(int64_t count, int64_t vectors, const T* input, const T* grad, const Block& block, T* sums,
                  int64_t distance) {
  if constexpr (COUNT > 1)
    if (count < COUNT) return add_channels<T, COUNT - 1>(count, vectors, input, grad, block, sums, distance);
  if (vectors == VECTORS)
    add_products<T, COUNT, VECTORS>(input, grad, block, sums, distance);
  else
    add_products<T, COUNT, 1>(input, grad, block, sums, distance);
}

// Copies the rows of an image that `rows` rows of its output see, from `first` on; left and right of them nothing is
// written, and the copy was zero there.
template <class T>
void copy_rows(const Geometry& g, const T* image, int64_t first, int64_t rows, T* copy) {
  const int64_t values = g.in_width * g.in_channels;
  for (int64_t i = 0; i < g.rows_seen(rows); ++i) {
    const int64_t y = first * g.stride_y - g.padding_y + i;
    T* row = copy + i * g.row_size() + g.padding_x * g.in_channels;
    if (y >= 0 && y < g.in_height)
      std::copy_n(image + y * values, values, row);
    else
      std::fill_n(row, values, T(0));
  }
}

// Adds what a block gives to sums[o][ky][run][lane], of which a run has `padded` lanes.
template <class T>
void add_block(const Geometry& g, const Block& block, const T* copy, const T* grad, int64_t padded, T* sums) {
  constexpr int64_t STEP = VECTORS * Lanes<T>::COUNT;
  const int64_t tiles = at::divup(g.channels, CHANNELS), distance = g.kernel_height * g.runs() * padded;
  for (int64_t ky = 0; ky < g.kernel_height; ++ky)
    for (int64_t run = 0; run < g.runs(); ++run) {
      const T* seen = copy + ky * g.dilation_y * g.row_size() + run * g.dilation_x * g.in_channels;
      for (int64_t lane = 0; lane < padded; lane += STEP) {
        const int64_t vectors = std::min(STEP, padded - lane) / Lanes<T>::COUNT;
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const int64_t o = tile * g.channels / tiles, end = (tile + 1) * g.channels / tiles;
          add_channels<T>(end - o, vectors, seen + lane, grad + o, block,
                          sums + o * distance + (ky * g.runs() + run) * padded + lane, distance);
        }
      }
    }
}

template <class T>
void compute(const Geometry& g, const at::Tensor& input, const at::Tensor& grad, at::Tensor& result) {
  const int64_t padded = at::divup(g.run_length(), Lanes<T>::COUNT) * Lanes<T>::COUNT;
  const int64_t size = g.channels * g.kernel_height * g.runs() * padded, parts = at::get_num_threads();
  // A block is some rows of an image, or all rows of some.
  const int64_t rows = std::min(g.height, std::max<int64_t>(1, PIXELS / g.width));
  const int64_t images = rows < g.height ? 1 : std::min(g.images, std::max<int64_t>(1, PIXELS / (rows * g.width)));
  const int64_t row_blocks = at::divup(g.height, rows), blocks = row_blocks * at::divup(g.images, images);
  const int64_t share = std::max<int64_t>(1, at::divup(blocks, parts)), input_image = g.rows_seen(rows) * g.row_size();
  std::vector<T> sums(parts * size);
  at::parallel_for(0, blocks, share, [&](int64_t begin, int64_t finish) {
    std::vector<T> copy(images * input_image + padded - g.run_length());  // the last lanes may read what is no channel
    for (int64_t i = begin; i < finish; ++i) {
      const int64_t image = i / row_blocks * images, first = i % row_blocks * rows;
      const Block block{std::min(images, g.images - image), std::min(rows, g.height - first), g.width,
                        input_image, g.stride_y * g.row_size(), g.stride_x * g.in_channels,
                        g.height * g.width * g.channels, g.width * g.channels, g.channels};
      for (int64_t j = 0; j < block.images; ++j)
        copy_rows(g, input.data_ptr<T>() + (image + j) * g.in_height * g.in_width * g.in_channels, first, block.rows,
                  copy.data() + j * input_image);
      add_block(g, block, copy.data(), grad.data_ptr<T>() + image * block.grad_image + first * block.grad_row, padded,
                sums.data() + begin / share * size);
    }
  });
  T* out = result.data_ptr<T>();
  at::parallel_for(0, g.channels, at::divup(g.channels, parts), [&](int64_t begin, int64_t finish) {
    for (int64_t o = begin; o < finish; ++o)
      for (int64_t c = 0; c < g.in_channels; ++c)
        for (int64_t ky = 0; ky < g.kernel_height; ++ky)
          for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
            const int64_t run = g.runs() == 1 ? 0 : kx, lane = g.runs() == 1 ? kx * g.in_channels + c : c;
            const T* sum = sums.data() + ((o * g.kernel_height + ky) * g.runs() + run) * padded + lane;
            T total = 0;
            for (int64_t part = 0; part < parts; ++part) total += sum[part * size];
            out[((o * g.in_channels + c) * g.kernel_height + ky) * g.kernel_width + kx] = total;
          }
  });
}

}  // namespace weight_gradient
