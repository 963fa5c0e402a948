import ReferenceImplementation
import Tensors

/// One convolution with made-up operands, as a network would give it: normalised input, a batch normalisation behind it.
///
/// Activations and gradients are normally distributed as behind a batch normalisation, kernels as He's rule draws them.
public struct ConvolutionExample: Sendable {
  /// Which coefficients the element-wise maps have.
  public enum Maps: Sendable {
    /// Any: batch normalisation, bias and residual addition take part.
    case arbitrary
    /// z = max(0, x), no bias, nothing added, dY = g: what is left is the convolution.
    case trivial
  }

  /// The convolution.
  public let geometry: ConvolutionGeometry
  /// N.
  public let imageCount: Int
  /// Whether the input is an image: neither normalised nor in need of a gradient.
  public let isStem: Bool
  let x: [Float]
  let scale: [Float]
  let shift: [Float]
  let mean: [Float]
  let weight: [Float]
  let bias: [Float]
  let addend: [Float]
  let gradient: [Float]
  let activation: [Float]
  let gradientScale: [Float]
  let activationScale: [Float]
  let constant: [Float]

  /// RandomCursor operands; the same for the same shape, everywhere.
  public init(_ geometry: ConvolutionGeometry, imageCount: Int, maps: Maps) {
    self.geometry = geometry
    self.imageCount = imageCount
    isStem = geometry.inputChannels == 3
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let outputCount = imageCount * geometry.outputCount
    func normal(_ name: String, _ count: Int, deviation: Double = 1) -> [Float] {
      var values = [Float](repeating: 0, count: count)
      let stream = RandomStream(seed: 0, purpose: "convolution example, \(name)")
      values.withUnsafeMutableBufferPointer {
        stream.fillNormal($0, standardDeviation: deviation)
      }
      return values
    }
    func map(_ name: String, _ count: Int, around centre: Float) -> [Float] {
      maps == .trivial
        ? [Float](repeating: centre, count: count)
        : normal(name, count, deviation: 0.2).map { centre + $0 }
    }
    let fanIn = geometry.kernelSize * geometry.kernelSize * channels
    x = normal("x", imageCount * geometry.inputCount)
    weight = normal("weight", geometry.weightCount, deviation: (2 / Double(fanIn)).squareRoot())
    gradient = normal("gradient", outputCount)
    activation = normal("activation", outputCount)
    addend =
      maps == .trivial ? [Float](repeating: 0, count: outputCount) : normal("addend", outputCount)
    scale = map("scale", channels, around: 1)
    shift = map("shift", channels, around: 0)
    mean = map("mean", channels, around: 0)
    bias = map("bias", filters, around: 0)
    gradientScale = map("gradient scale", filters, around: 1)
    activationScale = map("activation scale", filters, around: 0)
    constant = map("constant", filters, around: 0)
  }

  /// z in fp32, rounded once an element, so that no ReLU falls on the other side than a kernel's.
  var input: [Float] {
    guard !isStem else { return x }
    let channels = scale.count
    return x.indices.map { max(0, shift[$0 % channels].addingProduct(scale[$0 % channels], x[$0])) }
  }

  /// What both passes should give, in Double, by the definition.
  public func exactResults() -> ConvolutionResults<Double> {
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let z = input.map(Double.init)
    let weight = weight.map(Double.init)
    var y = ReferenceConvolution.forward(geometry, z, weight: weight, bias: bias.map(Double.init))
    for i in y.indices { y[i] += Double(addend[i]) }
    let dY = gradient.indices.map { i in
      let k = i % filters
      return Double(gradientScale[k]) * Double(gradient[i])
        + Double(activationScale[k]) * Double(activation[i]) + Double(constant[k])
    }
    let gradients = ReferenceConvolution.backward(geometry, z, weight: weight, outputGradient: dY)
    let masked = isStem ? [] : gradients.input.indices.map { z[$0] > 0 ? gradients.input[$0] : 0 }
    return ConvolutionResults(
      output: y, outputSums: Self.sums(y, times: { y[$0] }, channels: filters),
      inputGradient: masked,
      inputGradientSums: isStem
        ? []
        : Self.sums(
          masked, times: { Double(x[$0]) - Double(mean[$0 % channels]) }, channels: channels),
      weightGradient: gradients.weight, biasGradient: gradients.bias)
  }

  /// Σv and Σv·w per channel.
  private static func sums(
    _ values: [Double], times factor: (Int) -> Double, channels: Int
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: 2 * channels)
    for i in values.indices {
      sums[i % channels] += values[i]
      sums[channels + i % channels] += values[i] * factor(i)
    }
    return sums
  }
}

/// What the forward and the backward pass of one convolution give.
public struct ConvolutionResults<Element: Sendable>: Sendable {
  /// y, `NPQK`.
  public var output: [Element]
  /// Σy and Σy² per filter.
  public var outputSums: [Element]
  /// g′ or dX, `NHWC`; empty for the stem, whose input is the image.
  public var inputGradient: [Element]
  /// Σg′ and Σg′·(x − mean) per channel; empty for the stem.
  public var inputGradientSums: [Element]
  /// dW, `RSCK`.
  public var weightGradient: [Element]
  /// The sum of dY per filter.
  public var biasGradient: [Element]

  /// The tensors by the name of the operation that made them.
  public var byOperation: [(operation: Operation, values: [Element])] {
    [
      (.forward, output), (.forwardSums, outputSums), (.inputGradient, inputGradient),
      (.inputGradientSums, inputGradientSums), (.weightGradient, weightGradient),
      (.biasGradient, biasGradient),
    ].filter { !$0.1.isEmpty }
  }
}

/// What a convolution's passes compute.
public enum Operation: String, Sendable, CaseIterable {
  /// y.
  case forward
  /// Sums over y for the batch normalisation that follows.
  case forwardSums = "forward sums"
  /// g′ or dX.
  case inputGradient = "input gradient"
  /// Sums over g′ for the batch normalisation before.
  case inputGradientSums = "input gradient sums"
  /// dW.
  case weightGradient = "weight gradient"
  /// The sum of dY.
  case biasGradient = "bias gradient"
}

extension ConvolutionResults<Float> {
  /// The error of every tensor.
  public func errors(
    against exact: ConvolutionResults<Double>
  ) -> [(operation: Operation, error: ApproximationError)] {
    zip(byOperation, exact.byOperation).map { found, exact in
      (found.operation, ApproximationError(found.values, exact: exact.values))
    }
  }
}
