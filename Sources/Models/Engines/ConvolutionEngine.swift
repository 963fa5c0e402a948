import Tensors

/// One way of computing convolutions: forward and backward for some microbatches, on one thread.
///
/// An engine has no state: weights, prepared weights and scratch memory are the caller's. All results depend only on the
/// operands of their microbatch, never on threads, ranks or the other microbatches of a call: every element is formed in
/// one fixed order.
public protocol ConvolutionEngine: Sendable {
  /// The name on the command line, `blas` or `native`.
  var name: String { get }

  /// The instruction set of its inner loops, for example `avx2`.
  var instructions: String { get }

  /// Returns how many floats the engine wants for a kernel in its own form for one direction, 0 if it reads `RSCK`
  /// directly.
  func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int

  /// Returns in how many parts a kernel is prepared, so that workers can share the work; 0 if there is none.
  func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int

  /// Brings a part of a kernel into the engine's own form, before each pass over the layer.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - direction: What the kernel is prepared for.
  ///   - part: A part below ``packingTaskCount(_:)``.
  ///   - weight: The kernel, `RSCK`.
  ///   - packed: Room for ``packedWeightCount(_:)`` floats, for all parts together.
  func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, part: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>)

  /// Returns how many images one call had best be given, if that many are one thread's; fewer cost time only.
  func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int

  /// Returns how many floats of scratch memory one worker needs for `span` and shorter spans of equal microbatches.
  func scratchCount(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int

  /// Computes y = conv(z, weight) + bias (+ addend), and Σy and Σy² per channel if asked.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - microbatches: N, and which images are a microbatch.
  ///   - input: x, `NHWC`, and how z comes from it.
  ///   - weight: The kernel, `RSCK`.
  ///   - packed: The kernel as ``packWeight(_:for:part:_:into:)`` left it for this direction.
  ///   - bias: K numbers, or nil.
  ///   - output: y, `NPQK`.
  ///   - scratch: Room for ``scratchCount(_:_:)`` floats, 64-byte aligned; contents are lost.
  func forward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>)

  /// Computes the gradients of the kernel, the bias and the input.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - microbatches: N, and which images are a microbatch.
  ///   - input: What the forward pass read.
  ///   - weight: The kernel, `RSCK`.
  ///   - packed: The kernel as ``packWeight(_:for:part:_:into:)`` left it for this direction.
  ///   - outputGradient: dY, `NPQK`.
  ///   - parameterGradient: Where dW and dB of each microbatch go.
  ///   - inputGradient: Where the input's gradient goes; nil where nobody needs it.
  ///   - scratch: Room for ``scratchCount(_:_:)`` floats, 64-byte aligned; contents are lost.
  func backward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>)
}

extension ConvolutionEngine {
  /// Brings a whole kernel into the engine's own form.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {
    for part in 0..<packingTaskCount(geometry) {
      packWeight(geometry, for: direction, part: part, weight, into: packed)
    }
  }
}

// How many of a rank's microbatches a worker computes in one call: a question of speed alone.

extension ConvolutionEngine {
  /// Returns the microbatches that a worker computes at once: as many as the engine wants for a layer, if the workers are
  /// then done as early as with one at a time.
  ///
  /// - Parameters:
  ///   - geometry: The layer.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatchCount: The microbatches of this rank.
  ///   - workerCount: The threads that share them.
  /// - Returns: At least 1.
  package func microbatchesPerWorkItem(
    _ geometry: ConvolutionGeometry, imagesPerMicrobatch: Int, microbatchCount: Int, workerCount: Int
  ) -> Int {
    // What the busiest worker computes when microbatches are handed out one by one.
    let share = Self.quotient(microbatchCount, workerCount)
    var length = maximumMicrobatches(geometry, imagesPerMicrobatch, share: share)
    while length > 1 {
      let spans = Self.quotient(microbatchCount, length)
      if length * Self.quotient(spans, workerCount) <= share { return length }
      length -= 1
    }
    return 1
  }

  /// Returns the scratch memory of one worker: for the longest spans of any layer.
  func scratchCount(
    _ layers: [ConvolutionGeometry], imagesPerMicrobatch: Int, microbatchCount: Int, workerCount: Int
  ) -> Int {
    let share = Self.quotient(microbatchCount, workerCount)
    return layers.map { layer in
      let length = maximumMicrobatches(layer, imagesPerMicrobatch, share: share)
      return scratchCount(
        layer,
        MicrobatchRange(
          imageCount: length * imagesPerMicrobatch, imagesPerMicrobatch: imagesPerMicrobatch))
    }.max() ?? 0
  }

  /// The microbatches that fill what the engine wants, but no more than a worker's share.
  private func maximumMicrobatches(
    _ geometry: ConvolutionGeometry, _ imagesPerMicrobatch: Int, share: Int
  ) -> Int {
    max(1, min(preferredImageCount(geometry) / imagesPerMicrobatch, share))
  }

  private static func quotient(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
}
