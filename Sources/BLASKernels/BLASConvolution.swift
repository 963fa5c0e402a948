import Support
import Tensors

/// Convolution by im2col and OpenBLAS's `sgemm`: the portable baseline, for any geometry.
///
/// One call computes one microbatch. The number of images per product depends on the geometry and the microbatch's size
/// alone. Every product therefore has the same shape, and the same rounding, on whatever rank and thread it runs.
public enum BLASConvolution {
  /// Returns the floats of scratch memory for a call with `imageCount` images.
  public static func scratchCount(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    Scratch.count(geometry, images: imagesPerProduct(geometry, imageCount: imageCount))
  }

  /// Computes y = conv(z, weight) + bias (+ addend), and Σy and Σy² per channel if `output` has sums.
  ///
  /// - Parameters:
  ///   - geometry: The sizes of the convolution.
  ///   - imageCount: N, at least 1.
  ///   - input: x, `NHWC`, and the map from x to z.
  ///   - weight: `RSCK`.
  ///   - bias: K values. If `nil`, no bias is added.
  ///   - output: y, `NPQK`; the addend may be y itself.
  ///   - scratch: ``scratchCount(_:imageCount:)`` floats, overwritten.
  public static func forward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let filters = geometry.outputChannels
    let pixels = geometry.outputHeight * geometry.outputWidth
    let imagesPerProduct = Self.imagesPerProduct(geometry, imageCount: imageCount)
    let memory = Scratch(geometry, images: imagesPerProduct, scratch)
    let sums = output.sums.map {
      ChannelSums(channels: filters, totals: $0, scratch: memory.channelSums)
    }
    for first in stride(from: 0, to: imageCount, by: imagesPerProduct) {
      let images = min(imagesPerProduct, imageCount - first)
      unfoldInput(geometry, first: first, images: images, input: input, memory: memory)
      let y = output.activation + first * geometry.outputCount
      // y may hold the addend, so the product is computed in scratch memory first.
      let product = output.addend == nil ? y : memory.outputImages
      for pixel in 0..<images * pixels {
        let target = product + pixel * filters
        for k in 0..<filters { target[k] = bias?[k] ?? 0 }
      }
      // One product per weight row. A single product of depth R·S·C has chains of additions R times as long: the loss of
      // WRN-22-4 on the test vectors is then off by 8e-8, against 1e-9 this way.
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

  /// Computes the gradients with respect to weight, bias and input.
  ///
  /// - Parameters:
  ///   - geometry: The sizes of the convolution.
  ///   - imageCount: N, at least 1.
  ///   - input: The input of the forward pass.
  ///   - weight: `RSCK`.
  ///   - outputGradient: dY, `NPQK`.
  ///   - weightGradient: dW, `RSCK`; overwritten.
  ///   - biasGradient: The per-channel sum of dY, K values; overwritten. If `nil`, it is not computed.
  ///   - inputGradient: The gradient w.r.t. the input. If `nil`, it is not computed.
  ///   - scratch: ``scratchCount(_:imageCount:)`` floats, overwritten.
  public static func backward(
    _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
    weight: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
    weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
  ) {
    let filters = geometry.outputChannels
    let pixels = geometry.outputHeight * geometry.outputWidth
    let imagesPerProduct = Self.imagesPerProduct(geometry, imageCount: imageCount)
    let memory = Scratch(geometry, images: imagesPerProduct, scratch)
    var maskSums: ChannelSums?
    if let sums = inputGradient?.sums {
      maskSums = ChannelSums(
        channels: geometry.inputChannels, totals: sums, scratch: memory.channelSums)
    }
    biasGradient?.update(repeating: 0, count: filters)
    for first in stride(from: 0, to: imageCount, by: imagesPerProduct) {
      let images = min(imagesPerProduct, imageCount - first)
      let dY = memory.outputImages
      FusedElementwise.applyOutputGradientPrologue(
        outputGradient, offset: first * geometry.outputCount, pixels: images * pixels,
        channels: filters, into: dY)
      if let biasGradient {
        addPerChannel(
          dY, pixels: images * pixels, channels: filters, to: biasGradient,
          partial: memory.channelSums)
      }
      unfoldInput(geometry, first: first, images: images, input: input, memory: memory)
      SGEMM.multiplyTransposingA(
        m: geometry.kernelRowCount, n: filters, k: images * pixels, memory.columns, dY,
        into: weightGradient, beta: first == 0 ? 0 : 1)
      guard let inputGradient else { continue }
      // The unfolded input is no longer needed; its gradient overwrites it.
      SGEMM.multiplyTransposingB(
        m: images * pixels, n: geometry.kernelRowCount, k: filters, dY, weight,
        into: memory.columns)
      let (offset, count) = (first * geometry.inputCount, images * geometry.inputCount)
      let gradient = inputGradient.gradient + offset
      // The gradient may hold the addend, so dZ is formed in scratch memory, where z is no longer needed.
      let dZ = inputGradient.addend == nil ? gradient : memory.inputImages
      for image in 0..<images {
        Im2Col.fold(
          geometry, columns: memory.columns + image * pixels * geometry.kernelRowCount,
          image: dZ + image * geometry.inputCount)
      }
      if let dropout = input.dropout?.advanced(by: offset) {
        FusedElementwise.applyDropout(dropout, to: dZ, count: count)
      }
      if let addend = inputGradient.addend.map({ $0 + offset }) {
        for i in 0..<count { gradient[i] = dZ[i] + addend[i] }
      }
      if let maskSums, let map = input.normalization, let mean = inputGradient.mean {
        FusedElementwise.applyInputGradientEpilogue(
          gradient, x: input.activation + offset, map: map, mean: mean, rows: images * geometry.inputHeight,
          width: geometry.inputWidth, channels: geometry.inputChannels, sums: maskSums)
      }
    }
  }

  /// Applies the input prologue and unfolds the resulting z: images in scratch memory, or x itself.
  private static func unfoldInput(
    _ geometry: ConvolutionGeometry, first: Int, images: Int, input: ConvolutionInput,
    memory: Scratch
  ) {
    let x = input.activation + first * geometry.inputCount
    var z = x
    if let map = input.normalization {
      FusedElementwise.applyInputPrologue(
        x, by: map, pixels: images * geometry.inputHeight * geometry.inputWidth,
        channels: geometry.inputChannels, into: memory.inputImages)
      if let dropout = input.dropout?.advanced(by: first * geometry.inputCount) {
        FusedElementwise.applyDropout(dropout, to: memory.inputImages, count: images * geometry.inputCount)
      }
      z = UnsafePointer(memory.inputImages)
    }
    let rows = geometry.outputHeight * geometry.outputWidth
    for image in 0..<images {
      Im2Col.unfold(
        geometry, image: z + image * geometry.inputCount,
        columns: memory.columns + image * rows * geometry.kernelRowCount)
    }
  }

  /// Adds the values of all pixels to per-channel sums.
  ///
  /// 32 pixels at a time are summed separately, because a long fp32 sum loses small addends.
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

  /// Returns the number of images per product: about 1,024 output pixels.
  ///
  /// That is enough for `sgemm` to run at full speed, and small enough for the unfolded images to stay near L2.
  private static func imagesPerProduct(_ geometry: ConvolutionGeometry, imageCount: Int) -> Int {
    max(1, min(imageCount, 1024 / (geometry.outputHeight * geometry.outputWidth)))
  }
}

extension ConvolutionGeometry {
  /// R·S·C: the length of a row of the unfolded input.
  var kernelRowCount: Int { kernelSize * kernelSize * inputChannels }
}

/// The buffers within the scratch memory of a call.
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
  /// The number of floats, rounded up to whole cache lines of 16 floats.
  fileprivate var roundedUpToCacheLine: Int { dividedRoundingUp(by: 16) * 16 }
}
