import Tensors

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
  package func microbatchesAtOnce(
    _ geometry: ConvolutionGeometry, imagesPerMicrobatch: Int, microbatchCount: Int, workerCount: Int
  ) -> Int {
    // What the busiest worker computes when microbatches are handed out one by one.
    let share = Self.quotient(microbatchCount, workerCount)
    var length = longestSpan(geometry, imagesPerMicrobatch, share: share)
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
      let length = longestSpan(layer, imagesPerMicrobatch, share: share)
      return scratchCount(
        layer,
        MicrobatchSpan(
          imageCount: length * imagesPerMicrobatch, imagesPerMicrobatch: imagesPerMicrobatch))
    }.max() ?? 0
  }

  /// The microbatches that fill what the engine wants, but no more than a worker's share.
  private func longestSpan(
    _ geometry: ConvolutionGeometry, _ imagesPerMicrobatch: Int, share: Int
  ) -> Int {
    max(1, min(imagesAtOnce(geometry) / imagesPerMicrobatch, share))
  }

  private static func quotient(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
}

/// A pass over a layer, cut into spans of this rank's microbatches.
struct SpanPass {
  let run: MicrobatchRun
  /// The microbatches of every span but possibly the last.
  let microbatchesPerSpan: Int

  /// The number of spans.
  var count: Int { (run.localCount + microbatchesPerSpan - 1) / microbatchesPerSpan }

  /// The first local microbatch of a span.
  func firstMicrobatch(_ span: Int) -> Int { span * microbatchesPerSpan }

  /// The images of a span.
  func span(_ span: Int) -> MicrobatchSpan {
    let first = firstMicrobatch(span)
    let last = min(first + microbatchesPerSpan, run.localCount) - 1
    return MicrobatchSpan(
      imageCount: run.firstImage(last) + run.imageCount(last) - run.firstImage(first),
      imagesPerMicrobatch: run.imagesPerMicrobatch)
  }
}
