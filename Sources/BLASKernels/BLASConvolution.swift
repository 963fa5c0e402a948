import Tensors

/// Convolution as im2col and OpenBLAS's `sgemm`: the portable baseline, for any geometry.
///
/// Images are handled in groups of a size that depends on the geometry alone, so every product has the same shape, and
/// with it the same bits, wherever the microbatch is computed.
public enum BLASConvolution {
  /// Returns the number of floats of scratch memory that one call needs.
  public static func scratchCount(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    Scratch.count(geometry, images: imagesPerProduct(geometry, imageCount: imageCount))
  }

  /// Computes y = conv(z, weight) + bias (+ addend), and Σy and Σy² per channel if asked.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - imageCount: N.
  ///   - input: x, `NHWC`, and how z comes from it.
  ///   - weight: `RSCK`.
  ///   - bias: K numbers, or nil.
  ///   - output: y, `NPQK`; the addend may be y itself.
  ///   - scratch: ``scratchCount(_:imageCount:)`` floats.
  public static func forward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let filters = geometry.outputChannels
    let pixels = geometry.outputHeight * geometry.outputWidth
    let group = imagesPerProduct(geometry, imageCount: imageCount)
    let memory = Scratch(geometry, images: group, scratch)
    let sums = output.sums.map {
      ChannelSums(channels: filters, totals: $0, scratch: memory.channelSums)
    }
    for first in stride(from: 0, to: imageCount, by: group) {
      let images = min(group, imageCount - first)
      unfold(geometry, first: first, images: images, input: input, memory: memory)
      let y = output.activation + first * geometry.outputCount
      // y may hold the addend, so the product goes to memory of its own first.
      let product = output.addend == nil ? y : memory.outputImages
      for pixel in 0..<images * pixels {
        let target = product + pixel * filters
        for k in 0..<filters { target[k] = bias?[k] ?? 0 }
      }
      // One product a kernel row: chains of additions a third as long bring a fp32 sum over hundreds of terms about
      // ten times nearer to the exact one (loss of WRN-22-4 on the test vectors: 8e-8 off in one product, 1e-9 so).
      let tapRow = geometry.kernelSize * geometry.inputChannels
      for r in 0..<geometry.kernelSize {
        SGEMM.multiply(
          m: images * pixels, n: filters, k: tapRow, memory.columns + r * tapRow,
          leadingDimension: geometry.kernelRowCount, weight + r * tapRow * filters, into: product,
          beta: 1)
      }
      let rows = images * geometry.outputHeight
      FusedElementwise.applyOutputEpilogue(
        product, addend: output.addend.map { $0 + first * geometry.outputCount }, rows: rows,
        width: geometry.outputWidth, channels: filters, sums: sums)
      if product != y { y.update(from: product, count: images * geometry.outputCount) }
    }
  }

  /// Computes the gradients of the kernel, the bias and the input.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - imageCount: N.
  ///   - input: What the forward pass read.
  ///   - weight: `RSCK`.
  ///   - outputGradient: dY, `NPQK`.
  ///   - weightGradient: dW, `RSCK`, overwritten.
  ///   - biasGradient: The sum of dY per channel, overwritten; nil without a bias.
  ///   - inputGradient: Where the input's gradient goes, or nil.
  ///   - scratch: ``scratchCount(_:imageCount:)`` floats.
  public static func backward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
    weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    let filters = geometry.outputChannels
    let pixels = geometry.outputHeight * geometry.outputWidth
    let group = imagesPerProduct(geometry, imageCount: imageCount)
    let memory = Scratch(geometry, images: group, scratch)
    var maskSums: ChannelSums?
    if let sums = inputGradient?.sums {
      maskSums = ChannelSums(
        channels: geometry.inputChannels, totals: sums, scratch: memory.channelSums)
    }
    biasGradient?.update(repeating: 0, count: filters)
    for first in stride(from: 0, to: imageCount, by: group) {
      let images = min(group, imageCount - first)
      let dY = memory.outputImages
      FusedElementwise.outputGradient(
        outputGradient, offset: first * geometry.outputCount, pixels: images * pixels,
        channels: filters, into: dY)
      if let biasGradient {
        addPerChannel(
          dY, pixels: images * pixels, channels: filters, to: biasGradient,
          partial: memory.channelSums)
      }
      let z = unfold(geometry, first: first, images: images, input: input, memory: memory)
      SGEMM.multiplyTransposingA(
        m: geometry.kernelRowCount, n: filters, k: images * pixels, memory.columns, dY,
        into: weightGradient, beta: first == 0 ? 0 : 1)
      guard let inputGradient else { continue }
      // The unfolded input is done with; its gradient takes its place.
      SGEMM.multiplyTransposingB(
        m: images * pixels, n: geometry.kernelRowCount, k: filters, dY, weight,
        into: memory.columns)
      let dZ = inputGradient.gradient + first * geometry.inputCount
      for image in 0..<images {
        Im2Col.backward(
          geometry, columns: memory.columns + image * pixels * geometry.kernelRowCount,
          image: dZ + image * geometry.inputCount)
      }
      if let maskSums, let mean = inputGradient.mean {
        FusedElementwise.maskGradient(
          dZ, z: z, x: input.activation + first * geometry.inputCount, mean: mean,
          rows: images * geometry.inputHeight, width: geometry.inputWidth,
          channels: geometry.inputChannels, sums: maskSums)
      }
    }
  }

  /// Normalises and unfolds some images, and returns z: the normalised images, or x itself.
  @discardableResult
  private static func unfold(
    _ geometry: ConvolutionGeometry, first: Int, images: Int, input: ConvolutionInput,
    memory: Scratch
  ) -> UnsafePointer<Float> {
    let x = input.activation + first * geometry.inputCount
    var z = x
    if let map = input.normalization {
      FusedElementwise.normalize(
        x, by: map, pixels: images * geometry.inputHeight * geometry.inputWidth,
        channels: geometry.inputChannels, into: memory.inputImages)
      z = UnsafePointer(memory.inputImages)
    }
    let rows = geometry.outputHeight * geometry.outputWidth
    for image in 0..<images {
      Im2Col.forward(
        geometry, image: z + image * geometry.inputCount,
        columns: memory.columns + image * rows * geometry.kernelRowCount)
    }
    return z
  }

  /// Adds the numbers of every pixel to per-channel sums, 32 pixels at a time so that fp32 does not lose the small ones.
  private static func addPerChannel(
    _ values: UnsafePointer<Float>, pixels: Int, channels: Int,
    to sums: UnsafeMutablePointer<Float>, partial: UnsafeMutablePointer<Float>
  ) {
    for start in stride(from: 0, to: pixels, by: 32) {
      partial.update(repeating: 0, count: channels)
      for pixel in start..<min(start + 32, pixels) {
        let row = values + pixel * channels
        for c in 0..<channels { partial[c] += row[c] }
      }
      for c in 0..<channels { sums[c] += partial[c] }
    }
  }

  /// The images of one product: about 1,024 output pixels, enough for `sgemm` to run at full speed while the unfolded
  /// group stays near the second-level cache.
  private static func imagesPerProduct(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    max(1, min(imageCount, 1024 / (geometry.outputHeight * geometry.outputWidth)))
  }
}

extension ConvolutionGeometry {
  /// R·S·C, the length of a row of the unfolded input.
  var kernelRowCount: Int { kernelSize * kernelSize * inputChannels }
}

/// How a call divides its scratch memory.
private struct Scratch {
  let inputImages: UnsafeMutablePointer<Float>
  let outputImages: UnsafeMutablePointer<Float>
  let columns: UnsafeMutablePointer<Float>
  let channelSums: UnsafeMutablePointer<Float>

  init(_ geometry: ConvolutionGeometry, images: Int, _ memory: UnsafeMutablePointer<Float>) {
    let sizes = Self.sizes(geometry, images: images)
    inputImages = memory
    outputImages = inputImages + sizes[0]
    columns = outputImages + sizes[1]
    channelSums = columns + sizes[2]
  }

  static func count(_ geometry: ConvolutionGeometry, images: Int) -> Int {
    let sizes = sizes(geometry, images: images)
    return sizes[0] + sizes[1] + sizes[2] + sizes[3]
  }

  private static func sizes(_ geometry: ConvolutionGeometry, images: Int) -> InlineArray<4, Int> {
    let pixels = geometry.outputHeight * geometry.outputWidth
    return [
      (images * geometry.inputCount).roundedUpToCacheLine,
      (images * geometry.outputCount).roundedUpToCacheLine,
      (images * pixels * geometry.kernelRowCount).roundedUpToCacheLine,
      2 * max(geometry.inputChannels, geometry.outputChannels),
    ]
  }
}

extension Int {
  /// The next multiple of 16 floats.
  fileprivate var roundedUpToCacheLine: Int { (self + 15) / 16 * 16 }
}
