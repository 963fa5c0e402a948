import Tensors

/// The dropout masks of one operand for this rank's images of a batch, drawn in the forward pass and read again in the
/// backward pass.
///
/// A mask is a function of seed, layer, step, and the image's position in the global batch. Ranks, threads, microbatches
/// and restarts do not affect it. One bit per element takes 1/32 of the activation's memory.
final class DropoutMasks {
  private let stream: DropoutStream
  private let words: AlignedBuffer<UInt16>
  private let scale: Float

  /// Allocates the masks.
  ///
  /// - Parameters:
  ///   - layer: The dropout, at its largest image size.
  ///   - imageCount: This rank's images of a full batch.
  ///   - seed: The seed of the run.
  init(_ layer: DropoutLayer, imageCount: Int, seed: UInt64) {
    stream = DropoutStream(seed: seed, purpose: layer.name, probability: layer.probability)
    words = AlignedBuffer(count: imageCount * Self.wordCount(layer))
    scale = Float(1 / (1 - layer.probability))
  }

  /// The bytes of the masks.
  var byteCount: Int { words.byteCount }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(_ layer: DropoutLayer, imageCount: Int) -> Int { 2 * imageCount * wordCount(layer) }

  /// Draws the masks of some images.
  ///
  /// - Parameters:
  ///   - images: The images, counted from this rank's first.
  ///   - layer: The dropout at the present image size.
  ///   - firstPosition: The position in the global batch of this rank's first image.
  ///   - step: The number of the step.
  ///   - engine: Computes the random numbers.
  func draw(
    _ images: Range<Int>, _ layer: DropoutLayer, firstPosition: Int, step: Int, by engine: any ConvolutionEngine
  ) {
    let count = Self.wordCount(layer)
    for image in images {
      engine.fillDropoutMask(
        stream, words.pointer + image * count, wordCount: count, step: step, sample: firstPosition + image)
    }
  }

  /// The masks of an image and of those after it.
  func mask(_ image: Int, _ layer: DropoutLayer) -> DropoutMask {
    DropoutMask(words: UnsafePointer(words.pointer + image * Self.wordCount(layer)), scale: scale)
  }

  private static func wordCount(_ layer: DropoutLayer) -> Int { layer.elementCount / 16 }
}
