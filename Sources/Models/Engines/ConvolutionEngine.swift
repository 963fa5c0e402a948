import Support
import Tensors

/// An implementation of convolutions: forward and backward for one or several microbatches, on one thread.
///
/// An engine has no state: weights, packed weights and scratch memory are the caller's. The results of a microbatch depend
/// on its operands alone, never on threads, ranks or the other microbatches of a call: every element is computed in one
/// fixed order.
public protocol ConvolutionEngine: Sendable {
  /// The name on the command line, `blas` or `native`.
  var name: String { get }

  /// The instruction set of its inner loops, for example `avx2`.
  var instructions: String { get }

  /// Returns the floats of a weight packed for one direction; 0 if the engine reads `RSCK` directly.
  func packedWeightCount(_ geometry: ConvolutionGeometry) -> Int

  /// Returns the number of independent tasks that pack a weight; 0 if there is nothing to pack.
  func packingTaskCount(_ geometry: ConvolutionGeometry) -> Int

  /// Performs one task of packing a weight, before each pass over the layer.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - direction: The pass that will read it.
  ///   - task: A number below ``packingTaskCount(_:)``.
  ///   - weight: The weight, `RSCK`.
  ///   - packed: Room for ``packedWeightCount(_:)`` floats, for all tasks together.
  func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection, task: Int,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>)

  /// The preferred number of images per call. Smaller calls are correct but slower.
  func preferredImageCount(_ geometry: ConvolutionGeometry) -> Int

  /// Returns the floats of scratch memory that one worker needs for a range of microbatches and shorter ones.
  func scratchCount(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int

  /// Computes y = conv(z, weight) + bias (+ addend), and Σy and Σy² per channel if the output asks for them.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - microbatches: N, and which images are a microbatch.
  ///   - input: x, `NHWC`, and how z comes from it.
  ///   - weight: The weight, `RSCK`.
  ///   - packed: The weight as ``packWeight(_:for:task:_:into:)`` left it for this direction.
  ///   - bias: K numbers, or nil.
  ///   - output: y, `NPQK`.
  ///   - scratch: Room for ``scratchCount(_:_:)`` floats, 64-byte aligned; overwritten.
  func forward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
    output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>)

  /// Computes the gradients of the weight, the bias and the input.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - microbatches: N, and which images are a microbatch.
  ///   - input: What the forward pass read.
  ///   - weight: The weight, `RSCK`.
  ///   - packed: The weight as ``packWeight(_:for:task:_:into:)`` left it for this direction.
  ///   - outputGradient: dY, `NPQK`.
  ///   - parameterGradient: The destinations of dW and dB of each microbatch; whether the dW of pairs are summed.
  ///   - inputGradient: The destination of the input's gradient. If `nil`, it is not computed.
  ///   - scratch: Room for ``scratchCount(_:_:)`` floats, 64-byte aligned; overwritten.
  func backward(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
    weight: UnsafePointer<Float>, packed: UnsafePointer<Float>,
    outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
    inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>)

  /// Writes the dropout mask of one sample, the same with every engine.
  ///
  /// - Parameters:
  ///   - stream: The random bits of the layer.
  ///   - words: The mask, one bit per element: bit l of word w is 1 if element 16·w + l is kept; overwritten.
  ///   - wordCount: The number of words.
  ///   - step: The training step, not negative.
  ///   - sample: The position of the sample in the global batch.
  func fillDropoutMask(
    _ stream: DropoutStream, _ words: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int)
}

extension ConvolutionEngine {
  /// Calls the specification, ``DropoutStream/fill(_:wordCount:step:sample:)``.
  public func fillDropoutMask(
    _ stream: DropoutStream, _ words: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int
  ) {
    stream.fill(words, wordCount: wordCount, step: step, sample: sample)
  }

  /// Packs a whole weight.
  public func packWeight(
    _ geometry: ConvolutionGeometry, for direction: ConvolutionDirection,
    _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
  ) {
    for task in 0..<packingTaskCount(geometry) {
      packWeight(geometry, for: direction, task: task, weight, into: packed)
    }
  }
}

extension ConvolutionEngine {
  /// Returns how many microbatches a worker computes in one call; this affects speed alone.
  ///
  /// It is as many as fill the engine's preferred number of images, provided that the workers then finish as early as with
  /// one microbatch per call.
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
    // The microbatches of the busiest worker if each is a work item.
    let share = microbatchCount.dividedRoundingUp(by: workerCount)
    var length = maximumMicrobatches(geometry, imagesPerMicrobatch, share: share)
    while length > 1 {
      let items = microbatchCount.dividedRoundingUp(by: length)
      if length * items.dividedRoundingUp(by: workerCount) <= share { return length }
      length -= 1
    }
    return 1
  }

  /// Returns the floats of one worker's scratch memory: enough for the longest work item of any layer.
  func scratchCount(
    _ layers: [ConvolutionGeometry], imagesPerMicrobatch: Int, microbatchCount: Int, workerCount: Int
  ) -> Int {
    let share = microbatchCount.dividedRoundingUp(by: workerCount)
    return layers.map { layer in
      let length = maximumMicrobatches(layer, imagesPerMicrobatch, share: share)
      return scratchCount(
        layer,
        MicrobatchRange(
          imageCount: length * imagesPerMicrobatch, imagesPerMicrobatch: imagesPerMicrobatch))
    }.max() ?? 0
  }

  /// The microbatches that fill the preferred number of images, but at most a worker's share.
  private func maximumMicrobatches(
    _ geometry: ConvolutionGeometry, _ imagesPerMicrobatch: Int, share: Int
  ) -> Int {
    max(1, min(preferredImageCount(geometry) / imagesPerMicrobatch, share))
  }
}
