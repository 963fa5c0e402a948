import Models
import ReferenceImplementation
import Tensors
import TestSupport
import Testing

/// The backward pass of every engine, compared with the reference implementation, for every kind of operand.
@Suite struct BackwardTests {
  /// The terms of the output gradient, and where it is saved.
  enum Source: Sendable { case plain, normalized, normalizedPlusAddend, savedInPlaceOfAddend }

  @Test(arguments: ConvolutionCase.all, TestedEngine.all)
  func everyElement(shape: ConvolutionCase, engine: TestedEngine) {
    // Every kind of gradient with some kind of input; all pairs would be twelve.
    check(shape, engine, .plain, normalizes: false, wantsInput: true)
    check(shape, engine, .normalized, normalizes: true, wantsInput: true)
    check(shape, engine, .normalizedPlusAddend, normalizes: false, wantsInput: false)
    check(shape, engine, .savedInPlaceOfAddend, normalizes: true, wantsInput: true)
  }

  private func check(
    _ shape: ConvolutionCase, _ engine: TestedEngine, _ source: Source, normalizes: Bool, wantsInput: Bool
  ) {
    let g = shape.geometry
    let (x, weight, scratch) = (GuardedBuffer(shape.x), GuardedBuffer(shape.weight), engine.scratch(shape))
    let packed = engine.packed(shape, weight, for: .backward)
    let scale = GuardedBuffer(shape.numbers("scale", g.inputChannels))
    let shift = GuardedBuffer(shape.numbers("shift", g.inputChannels))
    let mean = GuardedBuffer(shape.numbers("mean", g.inputChannels))
    let gradient = OutputGradient(shape, source)
    let parameters = GuardedBuffer([Float](repeating: .nan, count: g.weightCount + g.outputChannels))
    let dX = GuardedBuffer([Float](repeating: .nan, count: x.count))
    let sums = GuardedBuffer([Double](repeating: .nan, count: 2 * g.inputChannels))
    withUnsafePointer(to: parameters.pointer) { addresses in
      engine.engine.backward(
        g, MicrobatchRange(imageCount: shape.images),
        input: ConvolutionInput(
          activation: x.pointer,
          normalization: normalizes ? NormalizedReLU(scale: scale.pointer, shift: shift.pointer) : nil),
        weight: weight.pointer, packed: packed.pointer, outputGradient: gradient.operand,
        parameterGradient: ConvolutionParameterGradient(destinations: addresses, hasBias: true),
        inputGradient: wantsInput
          ? ConvolutionInputGradient(
            gradient: dX.pointer, mean: normalizes ? UnsafePointer(mean.pointer) : nil,
            sums: normalizes ? sums.pointer : nil) : nil,
        scratch: scratch.pointer)
    }
    for buffer in [x, weight, packed, scratch, scale, shift, mean, parameters, dX] { #expect(buffer.isIntact) }
    #expect(sums.isIntact && gradient.isIntact)
    #expect(wantsInput || dX.elements.allSatisfy(\.isNaN))

    let z = engine.normalized(
      x.elements, normalizes ? (scale.elements, shift.elements) : nil, channels: g.inputChannels)
    let dY = gradient.exact
    let w = doubles(weight.elements)
    let exact = ReferenceConvolution.backward(g, doubles(z), weight: w, outputGradient: dY)
    let terms = ReferenceConvolution.backward(
      g, doubles(z).map(abs), weight: w.map(abs), outputGradient: gradient.terms)
    let (dW, dB) = (parameters.elements.prefix(g.weightCount), parameters.elements.suffix(g.outputChannels))
    expectClose(Array(dW), exact.weight, terms: terms.weight, isMixed: engine.mixes(g), "dW")
    expectClose(Array(dB), exact.bias, terms: terms.bias, "dB")
    if let saved = gradient.saved { expectClose(saved, dY, terms: gradient.terms, "dY") }
    guard wantsInput else { return }
    let masked = exact.input.enumerated().map { !normalizes || z[$0] > 0 ? $1 : 0 }
    expectClose(dX.elements, masked, terms: terms.input, isMixed: engine.mixes(g), "dX")
    if normalizes {
      expectInputGradientSums(sums.elements, dX.elements, x.elements, mean.elements, channels: g.inputChannels)
    }
  }

  /// A ReLU masks where its argument is at most 0, as PyTorch's threshold_backward does; NaN is not.
  @Test(arguments: TestedEngine.all, [ConvolutionCase(1, size: 4, 2, 3), ConvolutionCase(1, size: 8, 16, 16)])
  func theGradientPassesWhereTheArgumentIsNotANumber(engine: TestedEngine, shape: ConvolutionCase) {
    var x = shape.x.map { abs($0) + 1 }
    (x[5], x[6], x[7]) = (.nan, -1, 0)
    let unmasked = inputGradient(engine, shape, x, normalizes: false)
    let masked = inputGradient(engine, shape, x, normalizes: true)
    #expect(unmasked.allSatisfy { $0.isFinite && $0 != 0 })
    for i in x.indices { #expect(masked[i] == (i == 6 || i == 7 ? 0 : unmasked[i]), "\(i)") }
  }

  /// Returns dX, or g' for z = max(0, 1·x + 0).
  private func inputGradient(
    _ engine: TestedEngine, _ shape: ConvolutionCase, _ x: [Float], normalizes: Bool
  ) -> [Float] {
    let g = shape.geometry
    let (input, weight, scratch) = (GuardedBuffer(x), GuardedBuffer(shape.weight), engine.scratch(shape))
    let packed = engine.packed(shape, weight, for: .backward)
    let scale = GuardedBuffer([Float](repeating: 1, count: g.inputChannels))
    let zeros = GuardedBuffer([Float](repeating: 0, count: g.inputChannels))
    let gradient = GuardedBuffer(shape.numbers("g", shape.outputCount))
    let parameters = GuardedBuffer([Float](repeating: .nan, count: g.weightCount + g.outputChannels))
    let dX = GuardedBuffer([Float](repeating: .nan, count: x.count))
    let sums = GuardedBuffer([Double](repeating: .nan, count: 2 * g.inputChannels))
    withUnsafePointer(to: parameters.pointer) { addresses in
      engine.engine.backward(
        g, MicrobatchRange(imageCount: shape.images),
        input: ConvolutionInput(
          activation: input.pointer,
          normalization: normalizes ? NormalizedReLU(scale: scale.pointer, shift: zeros.pointer) : nil),
        weight: weight.pointer, packed: packed.pointer,
        outputGradient: ConvolutionOutputGradient(gradient: gradient.pointer),
        parameterGradient: ConvolutionParameterGradient(destinations: addresses, hasBias: true),
        inputGradient: ConvolutionInputGradient(
          gradient: dX.pointer, mean: normalizes ? UnsafePointer(zeros.pointer) : nil,
          sums: normalizes ? sums.pointer : nil),
        scratch: scratch.pointer)
    }
    for buffer in [input, weight, scratch, packed, scale, zeros, gradient, parameters] { #expect(buffer.isIntact) }
    #expect(sums.isIntact)
    return dX.elements
  }
}

/// Expects Σg' and Σg'·(x − mean) of the fp32 values written.
func expectInputGradientSums(_ sums: [Double], _ g: [Float], _ x: [Float], _ mean: [Float], channels: Int) {
  for c in 0..<channels {
    let indices = Array(stride(from: c, to: g.count, by: channels))
    let products = indices.map { Double(g[$0]) * (Double(x[$0]) - Double(mean[c])) }
    let values = indices.map { Double(g[$0]) }
    #expect(abs(sums[c] - values.reduce(0, +)) <= 1e-6 * values.reduce(1e-20) { $0 + abs($1) })
    let size = indices.reduce(1e-20) { $0 + abs(Double(g[$1])) * (abs(Double(x[$1])) + abs(Double(mean[c]))) }
    #expect(abs(sums[channels + c] - products.reduce(0, +)) <= 1e-6 * size)
  }
}

/// An output gradient with some of its terms, and its exact value.
private struct OutputGradient {
  let operand: ConvolutionOutputGradient
  let exact: [Double]
  /// The sum of the absolute values of the terms of each element.
  let terms: [Double]
  private let all: [GuardedBuffer<Float>]
  private let stored: GuardedBuffer<Float>?

  init(_ shape: ConvolutionCase, _ source: BackwardTests.Source) {
    let (count, channels) = (shape.outputCount, shape.geometry.outputChannels)
    let buffers = ["g", "y", "addend"].map { GuardedBuffer(shape.numbers($0, count)) }
    let maps = ["ca", "cb", "cc"].map { GuardedBuffer(shape.numbers($0, channels)) }
    // `elements` is a copy.
    let (values, coefficients) = (buffers.map(\.elements), maps.map(\.elements))
    let hasAddend = source == .normalizedPlusAddend || source == .savedInPlaceOfAddend
    let summands = (0..<count).map { i -> [Double] in
      let c = i % channels
      let value =
        source == .plain
        ? [Double(values[0][i])]
        : [
          Double(coefficients[0][c]) * Double(values[0][i]), Double(coefficients[1][c]) * Double(values[1][i]),
          Double(coefficients[2][c]),
        ]
      return value + (hasAddend ? [Double(values[2][i])] : [])
    }
    exact = summands.map { $0.reduce(0, +) }
    terms = summands.map { $0.reduce(0) { $0 + abs($1) } }
    let fresh = GuardedBuffer([Float](repeating: .nan, count: count))
    stored = source == .savedInPlaceOfAddend ? buffers[2] : source == .normalized ? fresh : nil
    all = buffers + maps + [fresh]
    operand = ConvolutionOutputGradient(
      gradient: buffers[0].pointer,
      normalization: source == .plain
        ? nil
        : NormalizationBackward(
          activation: buffers[1].pointer, gradientScale: maps[0].pointer,
          activationScale: maps[1].pointer, constant: maps[2].pointer),
      addend: hasAddend ? UnsafePointer(buffers[2].pointer) : nil, savedGradient: stored?.pointer)
  }

  var isIntact: Bool { all.allSatisfy(\.isIntact) }
  var saved: [Float]? { stored?.elements }
}
