import ReferenceImplementation
import Tensors

/// One convolution with generated operands, as a network has it: a batch norm and ReLU before it, a batch norm after it.
///
/// Activations and gradients are normally distributed, weights follow He's initialization.
public struct ConvolutionExample: Sendable {
  /// The coefficients of the element-wise maps.
  public enum Maps: Sendable {
    /// Generated coefficients: batch norm, bias and residual add take part.
    case arbitrary
    /// z = max(0, x), no bias, no addend, dY = g: only the convolution is left.
    case trivial
  }

  /// The terms of dY, and whether the engine saves dY for a skip connection.
  enum GradientTerms: Sendable {
    /// dY = g.
    case plain
    /// dY = ca·g + cb·y + cc.
    case normalized
    /// The same, saved over g.
    case normalizedAndSaved
    /// dY = ca·g + cb·y + cc + addend.
    case residualAdd
    /// The same, saved over the addend.
    case residualAddAndSaved

    var hasNormalization: Bool { self != .plain }
    var hasAddend: Bool { self == .residualAdd || self == .residualAddAndSaved }
    var isSaved: Bool { self == .normalizedAndSaved || self == .residualAddAndSaved }
  }

  /// How z comes from x, and the terms of the input gradient.
  struct InputTerms: Sendable {
    /// Whether z = max(0, scale·x + shift); otherwise z = x.
    var isNormalized = true
    /// Whether dropout follows batch norm and ReLU.
    var hasDropout = false
    /// Whether the input gradient has an addend, which it overwrites.
    var hasAddend = false
    /// Whether the input gradient of a normalized input is masked and summed; otherwise it is d·dZ (+ addend).
    var isMasked = true

    /// z = x.
    static let raw = InputTerms(isNormalized: false, isMasked: false)
  }

  /// The probability with which dropout drops an element.
  static let dropoutProbability = 0.25

  /// The convolution.
  public let geometry: ConvolutionGeometry
  /// The images, in microbatches.
  public let microbatches: MicrobatchRange
  /// Whether the input is an image: neither normalized nor in need of a gradient.
  public let isStem: Bool
  let inputTerms: InputTerms
  let gradientTerms: GradientTerms
  /// Whether the forward pass adds to y what y holds, instead of adding another tensor.
  let addsInPlace: Bool
  let x: [Float]
  // One coefficient per microbatch and channel.
  let scale: [Float]
  let shift: [Float]
  let mean: [Float]
  /// The words of the dropout mask of x.
  let dropoutWords: [UInt16]
  /// The addend of the input gradient.
  let inputAddend: [Float]
  let weight: [Float]
  let bias: [Float]
  let addend: [Float]
  let gradient: [Float]
  let activation: [Float]
  let gradientAddend: [Float]
  let gradientScale: [Float]
  let activationScale: [Float]
  let constant: [Float]

  /// Generates operands for one microbatch; the same for the same shape, on every machine.
  public init(_ geometry: ConvolutionGeometry, imageCount: Int, maps: Maps) {
    self.init(geometry, MicrobatchRange(imageCount: imageCount), maps: maps)
  }

  /// Generates operands; the same for the same arguments, on every machine.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - microbatches: The images. With more than one microbatch, each has its own coefficients.
  ///   - maps: The coefficients of the element-wise maps.
  ///   - inputTerms: How z comes from x, and the terms of its gradient; ignored for the stem.
  ///   - gradientTerms: How dY is formed and whether it is saved.
  ///   - addsInPlace: Whether the forward pass adds its result to y.
  init(
    _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, maps: Maps, inputTerms: InputTerms = InputTerms(),
    gradientTerms: GradientTerms = .normalized, addsInPlace: Bool = false
  ) {
    self.geometry = geometry
    self.microbatches = microbatches
    self.gradientTerms = gradientTerms
    self.addsInPlace = addsInPlace
    isStem = geometry.inputChannels == 3
    let inputTerms = isStem ? .raw : inputTerms
    self.inputTerms = inputTerms
    let imageCount = microbatches.imageCount
    let channels = microbatches.microbatchCount * geometry.inputChannels
    let filters = microbatches.microbatchCount * geometry.outputChannels
    let outputCount = imageCount * geometry.outputCount
    func normal(_ name: String, _ count: Int, deviation: Double = 1) -> [Float] {
      var values = [Float](repeating: 0, count: count)
      let stream = RandomStream(seed: 0, purpose: "convolution example, \(name)")
      values.withUnsafeMutableBufferPointer {
        stream.fillNormal($0, standardDeviation: deviation)
      }
      return values
    }
    func map(_ name: String, _ count: Int, around center: Float) -> [Float] {
      maps == .trivial
        ? [Float](repeating: center, count: count)
        : normal(name, count, deviation: 0.2).map { center + $0 }
    }
    let fanIn = geometry.kernelSize * geometry.kernelSize * geometry.inputChannels
    let inputCount = imageCount * geometry.inputCount
    x = normal("x", inputCount)
    dropoutWords = inputTerms.hasDropout ? Self.dropoutWords(count: inputCount / 16) : []
    inputAddend = inputTerms.hasAddend ? normal("input addend", inputCount) : []
    weight = normal("weight", geometry.weightCount, deviation: (2 / Double(fanIn)).squareRoot())
    gradient = normal("gradient", outputCount)
    activation = normal("activation", outputCount)
    gradientAddend = gradientTerms.hasAddend ? normal("gradient addend", outputCount) : []
    addend =
      maps == .trivial ? [Float](repeating: 0, count: outputCount) : normal("addend", outputCount)
    scale = map("scale", channels, around: 1)
    shift = map("shift", channels, around: 0)
    mean = map("mean", channels, around: 0)
    bias = map("bias", geometry.outputChannels, around: 0)
    gradientScale = map("gradient scale", filters, around: 1)
    activationScale = map("activation scale", filters, around: 0)
    constant = map("constant", filters, around: 0)
  }

  /// N.
  public var imageCount: Int { microbatches.imageCount }

  private static func dropoutWords(count: Int) -> [UInt16] {
    let stream = RandomStream(seed: 0, purpose: "convolution example, dropout")
    return (0..<count).map { w in
      (0..<16).reduce(0) { word, l in
        stream.uniform(UInt64(16 * w + l)) < dropoutProbability ? word : word | 1 << UInt16(l)
      }
    }
  }

  /// Returns the factor of element `i` of z, and of dZ: 1/(1 − p), 0, or 1 without dropout.
  private func dropoutFactor(_ i: Int) -> Double {
    guard inputTerms.hasDropout else { return 1 }
    return dropoutWords[i / 16] & 1 << UInt16(i % 16) == 0 ? 0 : 1 / (1 - Self.dropoutProbability)
  }

  /// z before dropout in fp32, rounded once per element, so that every ReLU has the kernels' sign.
  var rectifiedInput: [Float] {
    guard inputTerms.isNormalized else { return x }
    return x.indices.map { i in
      let c = coefficient(i, elementsPerImage: geometry.inputCount, channels: geometry.inputChannels)
      let value = shift[c].addingProduct(scale[c], x[i])
      // Not `max(0, value)`, which is 0 for NaN.
      return value <= 0 ? 0 : value
    }
  }

  /// The index of the coefficient that belongs to element `i` of a tensor.
  private func coefficient(_ i: Int, elementsPerImage: Int, channels: Int) -> Int {
    microbatches.microbatch(of: i / elementsPerImage) * channels + i % channels
  }

  /// Returns the exact results of both passes, in Double, computed by the definition.
  public func exactResults() -> ConvolutionResults<Double> {
    let rectified = rectifiedInput
    let z = rectified.indices.map { Double(rectified[$0]) * dropoutFactor($0) }
    let weight = weight.map(Double.init)
    var y = ReferenceConvolution.forward(geometry, z, weight: weight, bias: bias.map(Double.init))
    for i in y.indices { y[i] += Double(addend[i]) }
    let dY = exactOutputGradient()
    var results = ConvolutionResults<Double>(
      output: y, outputSums: [], inputGradient: [], inputGradientSums: [], weightGradient: [], biasGradient: [],
      savedGradient: gradientTerms.isSaved ? dY : [])
    for m in 0..<microbatches.microbatchCount {
      let images = microbatches.images(of: m)
      let inputs = images.lowerBound * geometry.inputCount..<images.upperBound * geometry.inputCount
      let outputs = images.lowerBound * geometry.outputCount..<images.upperBound * geometry.outputCount
      results.outputSums += Self.sums(outputs, channels: geometry.outputChannels, y) { y[$0] }
      let gradients = ReferenceConvolution.backward(
        geometry, Array(z[inputs]), weight: weight, outputGradient: Array(dY[outputs]))
      results.weightGradient += gradients.weight
      results.biasGradient += gradients.bias
      results.inputGradient += isStem ? [] : gradients.input
    }
    for i in results.inputGradient.indices {
      results.inputGradient[i] *= dropoutFactor(i)
      if inputTerms.hasAddend { results.inputGradient[i] += Double(inputAddend[i]) }
    }
    guard inputTerms.isMasked else { return results }
    let (channels, perImage) = (geometry.inputChannels, geometry.inputCount)
    for i in z.indices where rectified[i] <= 0 { results.inputGradient[i] = 0 }
    for m in 0..<microbatches.microbatchCount {
      let images = microbatches.images(of: m)
      results.inputGradientSums += Self.sums(
        images.lowerBound * perImage..<images.upperBound * perImage, channels: channels, results.inputGradient
      ) {
        Double(x[$0]) - Double(mean[coefficient($0, elementsPerImage: perImage, channels: channels)])
      }
    }
    return results
  }

  private func exactOutputGradient() -> [Double] {
    gradient.indices.map { i in
      var value = Double(gradient[i])
      if gradientTerms.hasNormalization {
        let k = coefficient(i, elementsPerImage: geometry.outputCount, channels: geometry.outputChannels)
        value =
          Double(gradientScale[k]) * value + Double(activationScale[k]) * Double(activation[i])
          + Double(constant[k])
      }
      return gradientTerms.hasAddend ? value + Double(gradientAddend[i]) : value
    }
  }

  /// Σv and Σv·factor per channel over a range of elements.
  private static func sums(
    _ range: Range<Int>, channels: Int, _ values: [Double], times factor: (Int) -> Double
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: 2 * channels)
    for i in range {
      sums[i % channels] += values[i]
      sums[channels + i % channels] += values[i] * factor(i)
    }
    return sums
  }
}

/// The results of the forward and the backward pass of one convolution; those per microbatch are concatenated.
public struct ConvolutionResults<Element: Sendable>: Sendable {
  /// y, `NPQK`.
  public var output: [Element]
  /// Σy and Σy² per microbatch and filter.
  public var outputSums: [Element]
  /// The input gradient, `NHWC`; empty for the stem, whose input is the image.
  public var inputGradient: [Element]
  /// Σg′ and Σg′·(x − mean) per microbatch and channel; empty if the input gradient is not masked.
  public var inputGradientSums: [Element]
  /// dW, `RSCK` per microbatch.
  public var weightGradient: [Element]
  /// The sum of dY per microbatch and filter.
  public var biasGradient: [Element]
  /// dY as saved for a skip connection, `NPQK`; empty if it is not saved.
  public var savedGradient: [Element]

  /// The tensors that are not empty, by operation.
  public var byOperation: [(operation: Operation, values: [Element])] {
    [
      (.forward, output), (.forwardSums, outputSums), (.inputGradient, inputGradient),
      (.inputGradientSums, inputGradientSums), (.weightGradient, weightGradient),
      (.biasGradient, biasGradient), (.savedGradient, savedGradient),
    ].filter { !$0.1.isEmpty }
  }
}

/// A result of a convolution's forward or backward pass.
public enum Operation: String, Sendable, CaseIterable {
  /// y.
  case forward
  /// Sums over y for the batch norm that follows.
  case forwardSums = "forward sums"
  /// g′ or dX.
  case inputGradient = "input gradient"
  /// Sums over g′ for the batch norm before.
  case inputGradientSums = "input gradient sums"
  /// dW.
  case weightGradient = "weight gradient"
  /// The sum of dY.
  case biasGradient = "bias gradient"
  /// dY, saved for a skip connection.
  case savedGradient = "saved gradient"
}

extension ConvolutionResults<Float> {
  /// Returns the error of every tensor.
  public func errors(
    against exact: ConvolutionResults<Double>
  ) -> [(operation: Operation, error: ApproximationError)] {
    zip(byOperation, exact.byOperation).map { found, exact in
      (found.operation, ApproximationError(found.values, exact: exact.values))
    }
  }
}
