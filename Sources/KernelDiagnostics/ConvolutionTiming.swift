import Models
import Tensors

/// One convolution with the memory of a whole batch, to be timed as a training step runs it: in spans of microbatches, on
/// one thread, with batch normalisation before and behind.
public final class ConvolutionTiming {
  /// Medians of one engine.
  public struct Times: Sendable {
    /// A batch forward, in seconds.
    public let forward: Double
    /// A batch's gradients of kernel and input, in seconds.
    public let backward: Double
  }

  private let geometry: ConvolutionGeometry
  private let batchSize: Int
  private let imagesPerMicrobatch: Int
  private let isStem: Bool
  private let x: AlignedBuffer<Float>
  private let y: AlignedBuffer<Float>
  private let gradient: AlignedBuffer<Float>
  private let inputGradient: AlignedBuffer<Float>
  private let weight: AlignedBuffer<Float>
  private let coefficients: AlignedBuffer<Float>
  private let parameterGradient: AlignedBuffer<Float>
  private let sums: AlignedBuffer<Double>

  /// Allocates a batch and fills it with numbers around 0.
  public init(_ geometry: ConvolutionGeometry, batchSize: Int, microbatches: Int) {
    self.geometry = geometry
    self.batchSize = batchSize
    imagesPerMicrobatch = batchSize / microbatches
    isStem = geometry.inputChannels == 3
    let channels = max(geometry.inputChannels, geometry.outputChannels)
    x = AlignedBuffer(count: batchSize * geometry.inputCount)
    y = AlignedBuffer(count: batchSize * geometry.outputCount)
    gradient = AlignedBuffer(count: batchSize * geometry.outputCount)
    inputGradient = AlignedBuffer(count: isStem ? 0 : batchSize * geometry.inputCount)
    weight = AlignedBuffer(count: geometry.weightCount)
    coefficients = AlignedBuffer(count: channels)
    parameterGradient = AlignedBuffer(count: geometry.weightCount + geometry.outputChannels)
    sums = AlignedBuffer(count: microbatches * 2 * channels)
    let stream = RandomStream(seed: 0, purpose: "convolution timing")
    let pattern = (0..<4099).map { Float(stream.uniform(UInt64($0)) - 0.5) }
    for buffer in [x, gradient, weight, coefficients] {
      for i in 0..<buffer.count { buffer.pointer[i] = pattern[i % pattern.count] }
    }
  }

  /// The multiply-adds of a batch forward; the way back has twice as many, the stem's as many.
  public var multiplyAdds: Int { batchSize * geometry.multiplyAdds }
  /// The multiply-adds of the gradients of kernel and, but for the stem, input.
  public var backwardMultiplyAdds: Int { (isStem ? 1 : 2) * multiplyAdds }
  /// The least bytes that a pass forward moves: x and the kernel read, y written.
  public var forwardByteCount: Int { x.byteCount + y.byteCount + weight.byteCount }
  /// The least bytes that the way back moves: x, g, y and the kernel read, g′ and dW written.
  public var backwardByteCount: Int {
    x.byteCount + gradient.byteCount + y.byteCount + inputGradient.byteCount + 2 * weight.byteCount
  }

  /// Times engines in turn, so that what else the machine does meets all of them.
  ///
  /// - Parameters:
  ///   - engines: What is timed.
  ///   - repetitions: Batches of each, after one that is not timed.
  /// - Returns: Medians, in the order of the engines.
  public func measure(_ engines: [any ConvolutionEngine], repetitions: Int) -> [Times] {
    let memories = engines.map { engine in
      (
        AlignedBuffer<Float>(count: engine.packedWeightCount(geometry)),
        AlignedBuffer<Float>(count: engine.scratchCount(geometry, microbatches(engine)))
      )
    }
    var forward = engines.map { _ in [Double]() }
    var backward = engines.map { _ in [Double]() }
    for repetition in 0...repetitions {
      for (e, engine) in engines.enumerated() {
        let (packed, scratch) = memories[e]
        engine.packWeight(geometry, for: .forward, weight.pointer, into: packed.pointer)
        let forwardTime = MachineRoofline.seconds { self.forward(engine, packed, scratch) }
        engine.packWeight(geometry, for: .backward, weight.pointer, into: packed.pointer)
        let times = (forwardTime, MachineRoofline.seconds { self.backward(engine, packed, scratch) })
        guard repetition > 0 else { continue }
        forward[e].append(times.0)
        backward[e].append(times.1)
      }
    }
    return engines.indices.map {
      Times(forward: Self.median(forward[$0]), backward: Self.median(backward[$0]))
    }
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  private func input(_ first: Int) -> ConvolutionInput {
    ConvolutionInput(
      activation: x.pointer + first * geometry.inputCount,
      normalization: isStem
        ? nil : NormalizedReLU(scale: coefficients.pointer, shift: coefficients.pointer))
  }

  /// The microbatches that a thread computes at once.
  private func microbatches(_ engine: any ConvolutionEngine) -> MicrobatchRange {
    let count = engine.microbatchesPerWorkItem(
      geometry, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatchCount: batchSize / imagesPerMicrobatch, workerCount: 1)
    return MicrobatchRange(
      imageCount: count * imagesPerMicrobatch, imagesPerMicrobatch: imagesPerMicrobatch)
  }

  /// Calls `body` for every span of the batch, with its first image.
  private func forEachSpan(
    _ engine: any ConvolutionEngine, _ body: (_ microbatches: MicrobatchRange, _ first: Int) -> Void
  ) {
    let step = microbatches(engine).imageCount
    for first in stride(from: 0, to: batchSize, by: step) {
      body(
        MicrobatchRange(
          imageCount: min(step, batchSize - first), imagesPerMicrobatch: imagesPerMicrobatch), first)
    }
  }

  private func forward(
    _ engine: any ConvolutionEngine, _ packed: AlignedBuffer<Float>,
    _ scratch: AlignedBuffer<Float>
  ) {
    forEachSpan(engine) { microbatches, first in
      engine.forward(
        geometry, microbatches, input: input(first), weight: weight.pointer, packed: packed.pointer,
        bias: coefficients.pointer,
        output: ConvolutionOutput(
          activation: y.pointer + first * geometry.outputCount, addend: nil, sums: sums.pointer),
        scratch: scratch.pointer)
    }
  }

  private func backward(
    _ engine: any ConvolutionEngine, _ packed: AlignedBuffer<Float>,
    _ scratch: AlignedBuffer<Float>
  ) {
    // All microbatches leave theirs in one place: nobody reads it.
    let addresses = [UnsafeMutablePointer<Float>](
      repeating: parameterGradient.pointer, count: batchSize / imagesPerMicrobatch)
    addresses.withUnsafeBufferPointer { addresses in
      guard let addresses = addresses.baseAddress else { return }
      forEachSpan(engine) { microbatches, first in
        let offset = first * geometry.outputCount
        engine.backward(
          geometry, microbatches, input: input(first), weight: weight.pointer, packed: packed.pointer,
          outputGradient: ConvolutionOutputGradient(
            gradient: gradient.pointer + offset,
            normalization: NormalizationBackward(
              activation: y.pointer + offset, gradientScale: coefficients.pointer,
              activationScale: coefficients.pointer, constant: coefficients.pointer)),
          parameterGradient: ConvolutionParameterGradient(destinations: addresses, hasBias: true),
          inputGradient: isStem
            ? nil
            : ConvolutionInputGradient(
              gradient: inputGradient.pointer + first * geometry.inputCount,
              mean: coefficients.pointer, sums: sums.pointer),
          scratch: scratch.pointer)
      }
    }
  }
}

extension ModelGraph {
  /// The different shapes among the network's convolutions, in forward order, with how often each occurs.
  public var distinctConvolutions: [(geometry: ConvolutionGeometry, count: Int)] {
    var result: [(geometry: ConvolutionGeometry, count: Int)] = []
    for geometry in convolutions {
      if let i = result.firstIndex(where: { $0.geometry == geometry }) {
        result[i].count += 1
      } else {
        result.append((geometry, 1))
      }
    }
    return result
  }
}

extension ConvolutionGeometry {
  /// For people: `32×32, 16→32, stride 2`, with the input's extent.
  public var summary: String {
    "\(inputHeight)×\(inputWidth), \(inputChannels)→\(outputChannels)" + (stride == 1 ? "" : ", stride \(stride)")
  }
}
