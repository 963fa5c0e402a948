/// The images of one microbatch or of several that follow one another, which one call of a convolution engine computes.
///
/// Sums over images never cross a microbatch, so how many are computed at once does not change a bit.
public struct MicrobatchSpan: Sendable {
  /// All images.
  public let imageCount: Int
  /// The images of every microbatch but possibly the last.
  public let imagesPerMicrobatch: Int

  /// Makes a span.
  ///
  /// - Parameters:
  ///   - imageCount: All images; at least one.
  ///   - imagesPerMicrobatch: Of every microbatch but the last, which has what is left; nil: all are one microbatch.
  public init(imageCount: Int, imagesPerMicrobatch: Int? = nil) {
    precondition(imageCount > 0 && imagesPerMicrobatch ?? 1 > 0, "a span has images")
    self.imageCount = imageCount
    self.imagesPerMicrobatch = imagesPerMicrobatch ?? imageCount
  }

  /// The number of microbatches.
  public var microbatchCount: Int { (imageCount - 1) / imagesPerMicrobatch + 1 }

  /// The microbatch of an image.
  public func microbatch(of image: Int) -> Int { image / imagesPerMicrobatch }

  /// The images of microbatch `m`.
  public func images(of m: Int) -> Range<Int> {
    m * imagesPerMicrobatch..<min((m + 1) * imagesPerMicrobatch, imageCount)
  }
}
