// Runs a network: a list of layers over feature maps in one piece of memory, by a team of threads. README.md says why.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernel.h"
#include "team.h"
#include "winograd.h"

namespace {

constexpr int kBlock = 288;          // inputs of a sum that are added at once: their weights stay in the first cache
constexpr long kGroupBytes = 192 << 10;  // of the pixels that one panel of weights is used for before the next one
constexpr long kFewPixels = 128;     // up to so many the threads share the output channels instead of the pixels
constexpr long kScratchBytes = 256 << 10;  // of the transformed pixels that a thread works on
constexpr long kPage = 2 << 20;      // a huge one

enum Kind : int32_t { kInput, kConvolution, kMaxPool, kAveragePool, kAdd, kOutput };

struct Slice {  // of a buffer's channels, which program.py numbers; buffer -1: there is none
  int32_t buffer, channel, channels;
};

// One layer, as program.py fills it in.
struct Layer {
  Kind kind;
  int32_t tensor;  // the number of the tensor that an input or output copies
  Slice in, out, addend, second;  // out = layer(in) + addend; a convolution's second output is out + second_addend
  Slice second_addend;
  int32_t kernel[2], stride[2], padding[2], dilation[2], groups;
  int32_t relu, ceil, count_padding;
  const float *weight, *bias;  // (out channels, in channels / groups, height, width); (out channels, )
};

struct BufferSpec {
  int32_t channels, border;  // a border of zeros, in pixels, for the convolutions that read it
};

struct Tensor {
  float* data;
  long size[2], stride[4];  // height and width; the strides of image, channel, row and pixel, in floats
};

long rounded(long n, long to) { return (n + to - 1) / to * to; }

struct Free {
  void operator()(float* p) const { free(p); }
};
using Memory = std::unique_ptr<float[], Free>;

Memory allocate(long floats) {
  const size_t bytes = rounded(floats * 4 + 4 * kLanes, kPage);
  void* p = aligned_alloc(kPage, bytes);
  if (!p) throw std::bad_alloc();
  madvise(p, bytes, MADV_HUGEPAGE);
  return Memory(static_cast<float*>(p));
}

struct Buffer {
  BufferSpec spec;
  long height = 0, width = 0;  // without the border
  long images = 0;             // that it holds at once
  long offset = 0;             // in the arena, floats
  int first = -1, last = -1;   // layers that use it
  bool whole_tiles = false;    // whether Winograd's tiles read it, up to 3 rows and columns behind the border

  long pixel() const {  // dense in front of a 3x3 convolution; otherwise on whole vectors, and off powers of two
    if (spec.border) return spec.channels;
    const long floats = rounded(spec.channels, kLanes);
    return floats % 256 == 0 ? floats + kLanes : floats;
  }
  long rows() const { return (whole_tiles ? rounded(height, kTileSize) : height) + 2 * spec.border; }
  long columns() const { return (whole_tiles ? rounded(width, kTileSize) : width) + 2 * spec.border; }
  long row() const { return columns() * pixel(); }
  long image() const { return rows() * row(); }
  long floats() const { return rounded(images * image() + 2 * kLanes, 64); }
};

struct View {  // where a slice lies in memory
  float* first = nullptr;
  long pixel = 0, row = 0, image = 0;
};

struct Panel {  // a few vectors of output channels, and their weights
  int channel, channels, vectors, input;
  long weight;
};

struct Piece {  // of a sum: inputs of one row of the kernel, or of one of its pixels
  int y, x, channel, length;
};

struct Convolution {  // what is prepared of a layer
  std::vector<Panel> panels;
  std::vector<Piece> pieces;
  std::vector<int> blocks;  // first pieces of blocks, and their number
  long weight = 0, bias = 0, transformed = 0;  // in the network's weights; the last for Winograd's products
  bool is_transformed = false;                 // they are made when they are first used
  int most_vectors = 1;
  long inputs = 0;  // of one sum
  long floats = 0;  // of the weights
};

void part(long n, int thread, int threads, long& from, long& to) {
  from = n * thread / threads, to = n * (thread + 1) / threads;
}

class Network {
 public:
  Network(const BufferSpec* buffers, int buffer_count, const Layer* layers, int layer_count, bool tiles)
      : tiles_(tiles), layers_(layers, layers + layer_count), convolutions_(layer_count) {
    for (int i = 0; i < buffer_count; i++) buffers_.push_back({buffers[i]});
    for (int i = 0; i < layer_count; i++) {
      for (const Slice* s : {&layers_[i].in, &layers_[i].addend, &layers_[i].second_addend, &layers_[i].out,
                             &layers_[i].second})
        if (s->buffer >= 0) {
          Buffer& b = buffers_[s->buffer];
          if (b.first < 0) b.first = i;
          b.last = i;
        }
      if (has_tiles(layers_[i])) buffers_[layers_[i].in.buffer].whole_tiles = true;
    }
    long floats = 0;
    for (int i = 0; i < layer_count; i++)
      if (layers_[i].kind == kConvolution) cut(layers_[i], convolutions_[i], floats);
    weights_ = allocate(floats);
    for (int i = 0; i < layer_count; i++)
      if (layers_[i].kind == kConvolution) pack(layers_[i], convolutions_[i]);
  }

  bool size_buffers(const Tensor* inputs);
  void sizes(const int32_t* outputs, int count, long* out) const {
    for (int i = 0; i < count; i++) out[2 * i] = buffers_[outputs[i]].height, out[2 * i + 1] = buffers_[outputs[i]].width;
  }
  bool run(long images, const Tensor* inputs, const Tensor* outputs, int threads);

 private:
  const bool tiles_;  // whether Winograd's may be used
  std::vector<Layer> layers_;
  std::vector<Buffer> buffers_;
  std::vector<Convolution> convolutions_;
  Memory weights_;  // of all of them, in one piece, as pages are huge
  float* arena_ = nullptr;
  long scratch_ = 0, scratch_floats_ = 0;  // in the arena: where that of the first thread is, and how large each is
  static Memory memory;
  static long memory_floats;

  void cut(const Layer& layer, Convolution& c, long& floats) const;
  void pack(const Layer& layer, const Convolution& c);
  bool has_tiles(const Layer& l) const;
  bool uses_tiles(const Layer& l, long images) const;
  void transform(const Layer& l, Convolution& c);
  long tiles_at_once(const Convolution& c, const Layer& l) const;
  int first_of_batch(long images) const;
  long place(int split, long images, int threads);
  View view(const Slice& s, long image) const;
  void clear_border(const Slice& s, long image, long images, int thread, int threads) const;
  void run_layer(int index, long image, long images, const Tensor* inputs, const Tensor* outputs, int thread,
                 int threads) const;
  void convolve(int index, long image, long images, int thread, int threads) const;
  void convolve_tiles(int index, long image, long images, int thread, int threads) const;
  void pool(const Layer& layer, long image, long images, int thread, int threads) const;
};

Memory Network::memory;
long Network::memory_floats = 0;

// Height or width of what a window slides over.
long slid(const Layer& l, int axis, long size) {
  const long span = size + 2 * l.padding[axis] - l.dilation[axis] * (l.kernel[axis] - 1L) - 1;
  if (span < 0) return 0;
  long out = (span + (l.ceil ? l.stride[axis] - 1 : 0)) / l.stride[axis] + 1;
  if (l.ceil && (out - 1) * l.stride[axis] >= size + l.padding[axis]) out--;  // as PyTorch: windows start inside
  return out;
}

// Set the size of every buffer, from those of the inputs; false if they do not fit each other.
bool Network::size_buffers(const Tensor* inputs) {
  for (Buffer& b : buffers_) b.height = b.width = 0;
  for (const Layer& l : layers_) {
    if (l.kind == kOutput) continue;
    long size[2];
    for (int a = 0; a < 2; a++) {
      const long in = l.kind == kInput ? inputs[l.tensor].size[a]
                                       : a ? buffers_[l.in.buffer].width : buffers_[l.in.buffer].height;
      size[a] = l.kind == kInput || l.kind == kAdd ? in : slid(l, a, in);
      if (size[a] <= 0) return false;
    }
    for (const Slice* s : {&l.out, &l.second}) {
      if (s->buffer < 0) continue;
      Buffer& b = buffers_[s->buffer];
      if (b.height == 0) b.height = size[0], b.width = size[1];
    }
    for (const Slice* s : {&l.out, &l.second, &l.addend, &l.second_addend})
      if (s->buffer >= 0 && (buffers_[s->buffer].height != size[0] || buffers_[s->buffer].width != size[1])) return false;
  }
  return true;
}

// Cut the output channels into panels and the sums into blocks; give the weights a place after so many floats.
void Network::cut(const Layer& l, Convolution& c, long& floats) const {
  const int in = l.in.channels / l.groups, out = l.out.channels / l.groups, vectors = (out + kLanes - 1) / kLanes;
  const int count = (vectors + kMostVectors - 1) / kMostVectors;
  c.inputs = static_cast<long>(in) * l.kernel[0] * l.kernel[1];
  for (int g = 0; g < l.groups; g++)
    for (int i = 0; i < count; i++) {
      const int from = vectors * i / count, to = vectors * (i + 1) / count;
      c.panels.push_back({g * out + from * kLanes, std::min(out, to * kLanes) - from * kLanes, to - from, g * in, c.floats});
      c.most_vectors = std::max(c.most_vectors, to - from);
      c.floats += c.inputs * (to - from) * kLanes;
    }
  // Rows of the kernel are one run of floats where the map is as narrow as the group, and lies pixel by pixel.
  const bool rows = l.dilation[1] == 1 && buffers_[l.in.buffer].pixel() == in;
  const int length = rows ? in * l.kernel[1] : in, pieces = (length + kBlock - 1) / kBlock;
  int sum = kBlock + 1;
  for (int y = 0; y < l.kernel[0]; y++)
    for (int x = 0; x < (rows ? 1 : l.kernel[1]); x++)
      for (int i = 0; i < pieces; i++) {
        const int from = length * i / pieces, size = length * (i + 1) / pieces - from;
        if (sum + size > kBlock) c.blocks.push_back(c.pieces.size()), sum = 0;
        c.pieces.push_back({y, x, from, size});
        sum += size;
      }
  c.blocks.push_back(c.pieces.size());
  c.weight = floats, c.bias = c.weight + rounded(c.floats, 16);
  c.transformed = c.bias + rounded(l.out.channels + 4 * kLanes, 16);
  floats = c.transformed + (has_tiles(l) ? rounded(c.floats / 9 * kProducts, 16) : 0);
}

// Lay the weights out as they are read.
void Network::pack(const Layer& l, const Convolution& c) {
  const int in = l.in.channels / l.groups;
  std::copy(l.bias, l.bias + l.out.channels, weights_.get() + c.bias);
  std::fill(weights_.get() + c.bias + l.out.channels, weights_.get() + c.transformed, 0.f);
  for (const Panel& p : c.panels) {
    float* to = weights_.get() + c.weight + p.weight;
    for (int y = 0; y < l.kernel[0]; y++)
      for (int x = 0; x < l.kernel[1]; x++)
        for (int k = 0; k < in; k++)
          for (int j = 0; j < p.vectors * kLanes; j++)
            *to++ = j < p.channels ? l.weight[((p.channel + j) * (long)in + k) * l.kernel[0] * l.kernel[1] +
                                              y * l.kernel[1] + x] : 0.f;
  }
}

// Whether Winograd's tiles can do a convolution.
bool Network::has_tiles(const Layer& l) const {
  auto all = [](const int32_t* pair, int value) { return pair[0] == value && pair[1] == value; };
  return tiles_ && l.kind == kConvolution && all(l.kernel, 3) && all(l.stride, 1) && all(l.dilation, 1) &&
         all(l.padding, 1) && l.groups == 1 && l.addend.buffer < 0;
}

// Whether they do. Their weights are four times as many, which few pixels do not pay for.
bool Network::uses_tiles(const Layer& l, long images) const {
  const Buffer& b = buffers_[l.out.buffer];
  return has_tiles(l) && images * b.height * b.width > kFewPixels;
}

// Lay the transformed weights out: for every product of the tile what `pack` has for every input.
void Network::transform(const Layer& l, Convolution& c) {
  if (c.is_transformed) return;
  c.is_transformed = true;
  const long step = c.floats / 9;  // from one product to the next
  for (const Panel& p : c.panels) {
    const long floats = static_cast<long>(l.in.channels) * p.vectors * kLanes;
    const float* from = weights_.get() + c.weight + p.weight;
    float* to = weights_.get() + c.transformed + p.weight / 9;
    for (long i = 0; i < floats; i++) transform_weight(from + i, floats, to + i, step);
  }
}

// Floats of a tile before and after the products.
long floats_of_tile(const Layer& l) {
  return kProducts * (rounded(l.in.channels, kLanes) + rounded(l.out.channels, kLanes));
}

long Network::tiles_at_once(const Convolution& c, const Layer& l) const {
  const long most = kMostPixels[c.most_vectors];
  return std::max(1L, kScratchBytes / 4 / floats_of_tile(l) / most) * most;
}

// Layers before this one run image by image, so that features stay in the cache; the others for all images at once, so
// that weights are read once. It is the layer where the two kinds of traffic are least.
int Network::first_of_batch(long images) const {
  if (images == 1) return 0;
  std::vector<double> features, weights;
  double all = 0;
  for (size_t i = 0; i < layers_.size(); i++) {
    const Buffer& b = buffers_[layers_[i].in.buffer >= 0 ? layers_[i].in.buffer : layers_[i].out.buffer];
    features.push_back(static_cast<double>(b.height) * b.width * b.pixel());
    weights.push_back(static_cast<double>(convolutions_[i].inputs) * layers_[i].out.channels);
    all += features.back();
  }
  int best = 0;
  double least = all, now = all;
  for (size_t i = 0; i < layers_.size(); i++) {
    now += weights[i] - features[i];
    if (now < least) least = now, best = i + 1;
  }
  return best;
}

// Give every buffer a place in the arena, that of buffers which are no longer needed, and every thread one for tiles;
// returns the floats of all.
long Network::place(int split, long images, int threads) {
  std::vector<Buffer*> order, living;
  for (Buffer& b : buffers_) {
    if (b.first < 0) continue;
    b.images = b.last >= split ? images : 1;
    order.push_back(&b);
  }
  // What later layers read of all images must not share its place with what the next image's layers write.
  auto start = [&](const Buffer* b) { return b->first < split && b->last >= split ? 0 : b->first; };
  std::stable_sort(order.begin(), order.end(), [&](Buffer* a, Buffer* b) { return start(a) < start(b); });
  long floats = 0;
  for (Buffer* b : order) {
    std::erase_if(living, [&](Buffer* other) { return other->last < start(b); });
    std::sort(living.begin(), living.end(), [](Buffer* a, Buffer* b) { return a->offset < b->offset; });
    b->offset = 0;
    for (Buffer* other : living) {
      if (b->offset + b->floats() <= other->offset) break;
      b->offset = std::max(b->offset, other->offset + other->floats());
    }
    living.push_back(b);
    floats = std::max(floats, b->offset + b->floats());
  }
  scratch_ = floats, scratch_floats_ = 0;
  for (size_t i = 0; i < layers_.size(); i++)
    if (uses_tiles(layers_[i], images))
      scratch_floats_ = std::max(scratch_floats_, tiles_at_once(convolutions_[i], layers_[i]) * floats_of_tile(layers_[i]));
  return floats + threads * scratch_floats_;
}

View Network::view(const Slice& s, long image) const {
  if (s.buffer < 0) return {};
  const Buffer& b = buffers_[s.buffer];
  const long border = b.spec.border, at = b.images == 1 ? 0 : image;
  float* first = arena_ + b.offset + at * b.image() + border * (b.row() + b.pixel()) + s.channel;
  return {first, b.pixel(), b.row(), b.image()};
}

void Network::clear_border(const Slice& s, long image, long images, int thread, int threads) const {
  if (s.buffer < 0 || s.channel || !buffers_[s.buffer].spec.border) return;
  const Buffer& b = buffers_[s.buffer];
  const long border = b.spec.border;
  float* first = arena_ + b.offset + (b.images == 1 ? 0 : image) * b.image();
  long from, to;
  part(images * b.rows(), thread, threads, from, to);
  for (long r = from; r < to; r++) {
    float* row = first + r * b.row();
    const long y = r % b.rows() - border, left = border * b.pixel(), right = left + b.width * b.pixel();
    if (y < 0 || y >= b.height) {
      std::fill(row, row + b.row(), 0.f);
    } else {
      std::fill(row, row + left, 0.f);
      std::fill(row + right, row + b.row(), 0.f);
    }
  }
}

bool Network::run(long images, const Tensor* inputs, const Tensor* outputs, int threads) {
  Team& team = Team::of_process();
  std::lock_guard<std::mutex> lock(team.busy);
  if (!size_buffers(inputs)) return false;
  const int split = first_of_batch(images), count = layers_.size();
  const long floats = place(split, images, threads);
  if (floats > memory_floats) {
    memory.reset();
    memory_floats = 0;
    memory = allocate(floats);
    memory_floats = floats;
  }
  arena_ = memory.get();
  for (int i = 0; i < count; i++)
    if (uses_tiles(layers_[i], i < split ? 1 : images)) transform(layers_[i], convolutions_[i]);
  team.run(threads, [&](int thread, int working) {
    for (long image = 0; image < images && split; image++)
      for (int i = 0; i < split; i++) {
        run_layer(i, image, 1, inputs, outputs, thread, working);
        team.barrier.wait(working);
      }
    for (int i = split; i < count; i++) {
      run_layer(i, 0, images, inputs, outputs, thread, working);
      if (i + 1 < count) team.barrier.wait(working);
    }
  });
  return true;
}

void Network::run_layer(int index, long image, long images, const Tensor* inputs, const Tensor* outputs, int thread,
                        int threads) const {
  const Layer& l = layers_[index];
  clear_border(l.out, image, images, thread, threads);
  clear_border(l.second, image, images, thread, threads);
  if (l.kind == kConvolution && uses_tiles(l, images)) return convolve_tiles(index, image, images, thread, threads);
  if (l.kind == kConvolution) return convolve(index, image, images, thread, threads);
  if (l.kind == kMaxPool || l.kind == kAveragePool) return pool(l, image, images, thread, threads);
  const Buffer& b = buffers_[l.kind == kOutput ? l.in.buffer : l.out.buffer];
  const View in = view(l.in, image), out = view(l.out, image), addend = view(l.addend, image);
  long from, to;
  part(images * b.height, thread, threads, from, to);
  for (long r = from; r < to; r++) {
    const long n = r / b.height, y = r % b.height;
    if (l.kind == kAdd) {
      for (long x = 0; x < b.width; x++)
        for (int c = 0; c < l.out.channels; c += kLanes) {
          const int left = l.out.channels - c;
          Vec value = load(in.first + n * in.image + y * in.row + x * in.pixel + c, left);
          if (addend.first) value += load(addend.first + n * addend.image + y * addend.row + x * addend.pixel + c, left);
          store(out.first + n * out.image + y * out.row + x * out.pixel + c, l.relu ? positive(value) : value, left);
        }
      continue;
    }
    const Tensor& t = (l.kind == kInput ? inputs : outputs)[l.tensor];
    const View& map = l.kind == kInput ? out : in;
    const int channels = l.kind == kInput ? l.out.channels : l.in.channels;
    float* outside = t.data + (image + n) * t.stride[0] + y * t.stride[2];
    float* inside = map.first + n * map.image + y * map.row;
    for (int c0 = 0; c0 < channels; c0 += 16)
      for (long x = 0; x < b.width; x++)
        for (int c = c0; c < channels && c < c0 + 16; c++) {
          float &a = outside[x * t.stride[3] + c * t.stride[1]], &z = inside[x * map.pixel + c];
          if (l.kind == kInput) z = a;
          else a = z;
        }
  }
}

void Network::convolve(int index, long image, long images, int thread, int threads) const {
  const Layer& l = layers_[index];
  const Convolution& c = convolutions_[index];
  const Buffer& size = buffers_[l.out.buffer];
  View in = view(l.in, image);
  const View out = view(l.out, image), addend = view(l.addend, image), second = view(l.second, image),
             second_addend = view(l.second_addend, image);
  in.first -= l.padding[0] * in.row + l.padding[1] * in.pixel;
  std::vector<Segment> segments;
  for (const Piece& p : c.pieces)
    segments.push_back({p.y * l.dilation[0] * in.row + p.x * l.dilation[1] * in.pixel + p.channel, p.length});
  in.row *= l.stride[0], in.pixel *= l.stride[1];

  // Where all maps lie pixel by pixel, they are one long row; where rows are short, a tile takes two of them.
  long rows = images * size.height, width = size.width, height = size.height;
  bool flat = true;
  for (const View& v : {in, out, addend, second, second_addend})
    flat = flat && (!v.first || (v.row == width * v.pixel && (images == 1 || v.image == height * v.row)));
  if (flat) width *= rows, rows = height = 1;
  const int most = kMostPixels[c.most_vectors];
  const bool pairs = 2 * width <= most && rows > 1;
  const long in_row = pairs ? 1 : (width + most - 1) / most, tiles = pairs ? (rows + 1) / 2 : rows * in_row;

  long from = 0, to = tiles, first = 0, last = c.panels.size();
  if (images * size.height * size.width <= kFewPixels && last >= threads) part(last, thread, threads, first, last);
  else part(tiles, thread, threads, from, to);
  const long group = std::max(2L, kGroupBytes / 4 / most / std::min<long>({kBlock, c.inputs, in.pixel * l.kernel[0]}));
  Epilogue e{};
  e.relu = l.relu;
  for (long start = from; start < to; start += group) {
    const long end = std::min(to, start + group);
    long done = 0, length = 0;
    for (size_t b = 0; b + 1 < c.blocks.size(); b++, done += length) {
      const int piece = c.blocks[b], pieces = c.blocks[b + 1] - piece;
      length = 0;
      for (int i = 0; i < pieces; i++) length += segments[piece + i].length;
      e.first = b == 0, e.last = b + 2 == c.blocks.size();
      for (long i = first; i < last; i++) {
        const Panel& p = c.panels[i];
        const float* weight = weights_.get() + c.weight + p.weight + done * p.vectors * kLanes;
        const Panel& next = c.panels[i + 1 < last ? i + 1 : i];
        const float* soon = weights_.get() + c.weight + next.weight + done * next.vectors * kLanes;
        e.bias = weights_.get() + c.bias + p.channel;
        e.channels = p.channels;
        e.second_channels = std::min(p.channels, l.second.channels - p.channel);
        for (long t = start; t < end; t++) {
          const long row = pairs ? 2 * t : t / in_row, x = pairs ? 0 : t % in_row * width / in_row;
          const bool two = pairs && row + 1 < rows;
          const int m = two ? 2 * width : pairs ? width : (t % in_row + 1) * width / in_row - x;
          auto pixels = [&](const View& v, long channel) -> Pixels {
            if (!v.first) return {};
            float* at = v.first + row / height * v.image + row % height * v.row + x * v.pixel + channel;
            return {{at, two ? v.first + (row + 1) / height * v.image + (row + 1) % height * v.row + channel
                             : at + (m + 1) / 2 * v.pixel}, v.pixel};
          };
          e.out = pixels(out, p.channel);
          e.residual = e.first ? pixels(addend, p.channel) : Pixels{};
          e.second = e.last && e.second_channels > 0 ? pixels(second, p.channel) : Pixels{};
          e.addend = e.last && e.second_channels > 0 ? pixels(second_addend, p.channel) : Pixels{};
          const long ahead = (t - start) * length * 16;  // floats: a line of the cache for every input
          e.prefetch = ahead < length * next.vectors * kLanes ? reinterpret_cast<const char*>(soon + ahead) : nullptr;
          kTiles[m][p.vectors](pixels(in, p.input), segments.data() + piece, pieces, weight, e);
        }
      }
    }
  }
}

// A convolution by Winograd's tiles: pixels are transformed, multiplied, and transformed back, some tiles at a time.
void Network::convolve_tiles(int index, long image, long images, int thread, int threads) const {
  const Layer& l = layers_[index];
  const Convolution& c = convolutions_[index];
  const Buffer& size = buffers_[l.out.buffer];
  View in = view(l.in, image);
  in.first -= in.row + in.pixel;
  const View out = view(l.out, image), second = view(l.second, image), addend = view(l.second_addend, image);
  const long down = (size.height + kTileSize - 1) / kTileSize, across = (size.width + kTileSize - 1) / kTileSize;
  const long wide = rounded(l.in.channels, kLanes), deep = rounded(l.out.channels, kLanes);
  const int most = kMostPixels[c.most_vectors];
  const Segment segment{0, l.in.channels};
  static const float zeros[4 * kLanes] = {};
  Epilogue e{};
  e.bias = zeros;
  e.first = e.last = true;
  float* const before = arena_ + scratch_ + thread * scratch_floats_;
  long from, to;
  part(images * down * across, thread, threads, from, to);
  const long fit = tiles_at_once(c, l), groups = (to - from + fit - 1) / fit;
  for (long group = 0; group < groups; group++) {
    const long start = from + (to - from) * group / groups, end = from + (to - from) * (group + 1) / groups;
    const long count = end - start;
    float* const after = before + kProducts * count * wide;
    auto place = [&](const View& v, long t) -> Place {
      if (!v.first) return {};
      const long y = t / across % down * kTileSize, x = t % across * kTileSize;
      return {v.first + t / (down * across) * v.image + y * v.row + x * v.pixel, v.pixel, v.row};
    };
    for (long i = 0; i < count; i++)
      transform_input(place(in, start + i), l.in.channels, before + i * wide, count * wide);
    for (int g = 0; g < kProducts; g++)
      for (const Panel& p : c.panels) {
        const float* weight = weights_.get() + c.transformed + g * (c.floats / 9) + p.weight / 9;
        e.channels = p.vectors * kLanes;
        const long parts = (count + most - 1) / most;
        for (long i = 0; i < parts; i++) {
          const long first = count * i / parts, m = count * (i + 1) / parts - first, half = (m + 1) / 2;
          float *x = before + (g * count + first) * wide, *y = after + (g * count + first) * deep + p.channel;
          e.out = {{y, y + half * deep}, deep};
          kTiles[m][p.vectors]({{x, x + half * wide}, wide}, &segment, 1, weight, e);
        }
      }
    for (long i = 0; i < count; i++) {
      const long t = start + i, height = size.height - t / across % down * kTileSize;
      transform_output(after + i * deep, count * deep, l.out.channels, weights_.get() + c.bias, l.relu, height,
                       size.width - t % across * kTileSize, place(out, t), place(addend, t), place(second, t));
    }
  }
}

void Network::pool(const Layer& l, long image, long images, int thread, int threads) const {
  const Buffer &size = buffers_[l.out.buffer], &source = buffers_[l.in.buffer];
  const View in = view(l.in, image), out = view(l.out, image);
  long from, to;
  part(images * size.height, thread, threads, from, to);
  for (long r = from; r < to; r++)
    for (long x = 0; x < size.width; x++) {
      const long n = r / size.height, y = r % size.height;
      const long top = y * l.stride[0] - l.padding[0], left = x * l.stride[1] - l.padding[1];
      const long bottom = std::min(top + l.kernel[0], source.height + l.padding[0]);
      const long right = std::min(left + l.kernel[1], source.width + l.padding[1]);
      const long y0 = std::max(0L, top), y1 = std::min(bottom, source.height);
      const long x0 = std::max(0L, left), x1 = std::min(right, source.width);
      const float area = l.count_padding ? (bottom - top) * (right - left) : (y1 - y0) * (x1 - x0);
      for (int c = 0; c < l.out.channels; c += kLanes) {
        const int channels = l.out.channels - c;
        auto pixel = [&](long yy, long xx) {
          return load(in.first + n * in.image + yy * in.row + xx * in.pixel + c, channels);
        };
        Vec value = l.kind == kMaxPool ? broadcast(-__builtin_inff()) : Vec{};
        for (long yy = y0; yy < y1; yy++)
          for (long xx = x0; xx < x1; xx++)
            value = l.kind == kMaxPool ? larger(value, pixel(yy, xx)) : value + pixel(yy, xx);
        store(out.first + n * out.image + y * out.row + x * out.pixel + c, l.kind == kMaxPool ? value : value / area,
              channels);
      }
    }
}

}  // namespace

extern "C" {
void* engine_new(const BufferSpec* buffers, int buffer_count, const Layer* layers, int layer_count, int tiles) {
  try {
    return new Network(buffers, buffer_count, layers, layer_count, tiles);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void engine_free(void* network) { delete static_cast<Network*>(network); }

// Height and width of buffers, for these inputs; 0 if they do not fit.
int engine_sizes(void* network, const Tensor* inputs, const int32_t* buffers, int count, long* sizes) {
  std::lock_guard<std::mutex> lock(Team::of_process().busy);
  Network& n = *static_cast<Network*>(network);
  if (!n.size_buffers(inputs)) return 0;
  n.sizes(buffers, count, sizes);
  return 1;
}

// 1: done; 0: the inputs do not fit; -1: no memory.
int engine_run(void* network, long images, const Tensor* inputs, const Tensor* outputs, int threads) {
  try {
    return static_cast<Network*>(network)->run(images, inputs, outputs, threads);
  } catch (const std::bad_alloc&) {
    return -1;
  }
}
}
