import Models
import Support
import Tensors

/// One convolution with the memory of a whole batch, timed as a training step runs it.
///
/// It runs on one thread, in ranges of microbatches, with a batch norm before and after.
public final class ConvolutionTiming {
  /// The median times of one engine.
  public struct Times: Sendable {
    /// Seconds per batch, forward.
    public let forward: Double
    /// Seconds per batch, weight and input gradient together.
    public let backward: Double
  }

  let geometry: ConvolutionGeometry
  private let batchSize: Int
  private let imagesPerMicrobatch: Int
  private let workerCount: Int
  private let isStem: Bool
  private let x: AlignedBuffer<Float>
  private let y: AlignedBuffer<Float>
  private let gradient: AlignedBuffer<Float>
  private let inputGradient: AlignedBuffer<Float>
  let weight: AlignedBuffer<Float>
  private let coefficients: AlignedBuffer<Float>
  private let parameterGradient: AlignedBuffer<Float>
  private let sums: AlignedBuffer<Double>

  /// Allocates a batch and fills it with numbers in −0.5 … 0.5.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - batchSize: Images per batch.
  ///   - microbatches: Microbatches per batch.
  ///   - workerCount: The work items are those of a rank with that many threads; one thread computes all of them.
  public init(_ geometry: ConvolutionGeometry, batchSize: Int, microbatches: Int, workerCount: Int = 1) {
    self.geometry = geometry
    self.batchSize = batchSize
    imagesPerMicrobatch = batchSize / microbatches
    self.workerCount = workerCount
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

  /// The multiply-adds per batch of the forward pass, by direct convolution.
  public var multiplyAdds: Int { batchSize * geometry.multiplyAdds }
  /// The multiply-adds per batch of the weight gradient and, not for the stem, the input gradient.
  public var backwardMultiplyAdds: Int { (isStem ? 1 : 2) * multiplyAdds }
  /// The least bytes that a forward pass moves: it reads x and the weight and writes y.
  public var forwardByteCount: Int { x.byteCount + y.byteCount + weight.byteCount }
  /// The least bytes that a backward pass moves: it reads x, g, y and the weight and writes g′ and dW.
  public var backwardByteCount: Int {
    x.byteCount + gradient.byteCount + y.byteCount + inputGradient.byteCount + 2 * weight.byteCount
  }

  /// Times engines interleaved, so that other load on the machine affects all of them.
  ///
  /// - Parameters:
  ///   - engines: The engines to time.
  ///   - repetitions: The batches per engine, after one for warm-up.
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
      Times(forward: forward[$0].median, backward: backward[$0].median)
    }
  }

  private func input(_ first: Int) -> ConvolutionInput {
    ConvolutionInput(
      activation: x.pointer + first * geometry.inputCount,
      normalization: isStem
        ? nil : NormalizedReLU(scale: coefficients.pointer, shift: coefficients.pointer))
  }

  /// The microbatches per work item.
  func microbatches(_ engine: any ConvolutionEngine) -> MicrobatchRange {
    let count = engine.microbatchesPerWorkItem(
      geometry, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatchCount: batchSize / imagesPerMicrobatch, workerCount: workerCount)
    return MicrobatchRange(
      imageCount: count * imagesPerMicrobatch, imagesPerMicrobatch: imagesPerMicrobatch)
  }

  /// Calls `body` for every work item of the batch, with its first image.
  private func forEachWorkItem(
    _ engine: any ConvolutionEngine, _ body: (_ microbatches: MicrobatchRange, _ first: Int) -> Void
  ) {
    let workItems = WorkDivision(0..<batchSize, itemSize: microbatches(engine).imageCount)
    for item in 0..<workItems.count {
      let images = workItems[item]
      body(
        MicrobatchRange(imageCount: images.count, imagesPerMicrobatch: imagesPerMicrobatch), images.lowerBound)
    }
  }

  func forward(
    _ engine: any ConvolutionEngine, _ packed: AlignedBuffer<Float>,
    _ scratch: AlignedBuffer<Float>
  ) {
    forEachWorkItem(engine) { microbatches, first in
      engine.forward(
        geometry, microbatches, input: input(first), weight: weight.pointer, packed: packed.pointer,
        bias: coefficients.pointer,
        output: ConvolutionOutput(
          activation: y.pointer + first * geometry.outputCount, addend: nil, sums: sums.pointer),
        scratch: scratch.pointer)
    }
  }

  func backward(
    _ engine: any ConvolutionEngine, _ packed: AlignedBuffer<Float>,
    _ scratch: AlignedBuffer<Float>
  ) {
    // All microbatches share one destination: it is never read.
    let destinations = [UnsafeMutablePointer<Float>](
      repeating: parameterGradient.pointer, count: batchSize / imagesPerMicrobatch)
    destinations.withUnsafeBufferPointer { destinations in
      guard let destinations = destinations.baseAddress else { return }
      forEachWorkItem(engine) { microbatches, first in
        let offset = first * geometry.outputCount
        engine.backward(
          geometry, microbatches, input: input(first), weight: weight.pointer, packed: packed.pointer,
          outputGradient: ConvolutionOutputGradient(
            gradient: gradient.pointer + offset,
            normalization: NormalizationBackward(
              activation: y.pointer + offset, gradientScale: coefficients.pointer,
              activationScale: coefficients.pointer, constant: coefficients.pointer)),
          parameterGradient: ConvolutionParameterGradient(destinations: destinations, hasBias: true),
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
  /// The distinct shapes of the model's convolutions, in forward order, with the number of occurrences.
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
  /// A description such as `32×32, 16→32, stride 2`, with the height and width of the input.
  ///
  /// Weights that are not 3×3 are named: `32×32, 16→32, stride 2, 1×1`.
  public var summary: String {
    "\(inputHeight)×\(inputWidth), \(inputChannels)→\(outputChannels)" + (stride == 1 ? "" : ", stride \(stride)")
      + (kernelSize == 3 ? "" : ", \(kernelSize)×\(kernelSize)")
  }
}
