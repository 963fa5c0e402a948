import Models
import ReferenceImplementation
import Tensors
import TestSupport
import Testing

/// Dropout of the input, and an input gradient with an addend or without a mask, in every combination.
@Suite struct InputOperandTests {
  /// The tensor that is added to the input gradient.
  enum Addend: CaseIterable, Sendable { case none, other, gradient }

  /// How an input is read, and what its gradient is.
  struct Operands: CustomTestStringConvertible, Sendable {
    let normalizes: Bool
    let hasDropout: Bool
    let addend: Addend
    let isMasked: Bool

    var testDescription: String {
      "\(normalizes ? "normalized" : "raw")\(hasDropout ? ", dropout" : ""), addend \(addend)"
        + (isMasked ? ", masked" : "")
    }

    /// Dropout and masks follow a normalization.
    static let all = Addend.allCases.flatMap { addend in
      [Operands(normalizes: false, hasDropout: false, addend: addend, isMasked: false)]
        + [(false, false), (false, true), (true, false), (true, true)].map {
          Operands(normalizes: true, hasDropout: $0, addend: addend, isMasked: $1)
        }
    }
  }

  /// Winograd, polyphase, direct and pointwise shapes, with several images, blocks of channels and parts of an image.
  static let shapes = [
    ConvolutionCase(3, size: 8, 48, 32), ConvolutionCase(1, size: 32, 16, 16), ConvolutionCase(2, size: 4, 112, 16),
    ConvolutionCase(3, size: 16, 16, 32, stride: 2), ConvolutionCase(2, size: 32, 32, 16, stride: 2, padding: 1),
    ConvolutionCase(2, size: 12, 32, 16, stride: 2), ConvolutionCase(2, size: 6, 16, 48),
    ConvolutionCase(3, size: 4, 5, 7), ConvolutionCase(2, size: 8, 6, 3, stride: 2, kernel: 5),
    ConvolutionCase(2, size: 8, 64, 32, stride: 1, kernel: 1, padding: 0),
    ConvolutionCase(3, size: 8, 48, 64, stride: 2, kernel: 1, padding: 0),
    ConvolutionCase(2, size: 7, 32, 16, stride: 2, kernel: 1, padding: 0),
    ConvolutionCase(1, size: 32, 64, 64, stride: 1, kernel: 1, padding: 0),
    // Tiles that reach beyond the image, and rows of odd numbers of pixels.
    ConvolutionCase(2, size: 7, 48, 16), ConvolutionCase(2, size: 14, 16, 32, stride: 2, padding: 1),
  ]

  @Test(arguments: shapes, TestedEngine.all)
  func everyCombination(shape: ConvolutionCase, engine: TestedEngine) {
    for operands in Operands.all { check(shape, engine, operands) }
  }

  private func check(_ shape: ConvolutionCase, _ engine: TestedEngine, _ operands: Operands) {
    let g = shape.geometry
    let channels = g.inputChannels
    let name = operands.testDescription
    let (x, weight, scratch) = (GuardedBuffer(shape.x), GuardedBuffer(shape.weight), engine.scratch(shape))
    let packedWeight = engine.packed(shape, weight, for: .forward)
    let flippedWeight = engine.packed(shape, weight, for: .backward)
    let (scale, shift) = (
      GuardedBuffer(shape.numbers("scale", channels)), GuardedBuffer(shape.numbers("shift", channels))
    )
    let mean = GuardedBuffer(shape.numbers("mean", channels))
    let mask = TestedDropout(shape, probability: 0.3)
    let input = ConvolutionInput(
      activation: x.pointer,
      normalization: operands.normalizes ? NormalizedReLU(scale: scale.pointer, shift: shift.pointer) : nil,
      dropout: operands.hasDropout ? mask.operand : nil)
    let y = GuardedBuffer([Float](repeating: .nan, count: shape.outputCount))
    engine.engine.forward(
      g, MicrobatchRange(imageCount: shape.images), input: input, weight: weight.pointer,
      packed: packedWeight.pointer, bias: nil,
      output: ConvolutionOutput(activation: y.pointer, addend: nil, sums: nil), scratch: scratch.pointer)

    let gradient = GuardedBuffer(shape.numbers("g", shape.outputCount))
    let other = GuardedBuffer(shape.numbers("input addend", x.count))
    let dX = GuardedBuffer(operands.addend == .gradient ? other.elements : [Float](repeating: .nan, count: x.count))
    let sums = GuardedBuffer([Double](repeating: .nan, count: 2 * channels))
    let parameters = GuardedBuffer([Float](repeating: .nan, count: g.weightCount))
    withUnsafePointer(to: parameters.pointer) { addresses in
      engine.engine.backward(
        g, MicrobatchRange(imageCount: shape.images), input: input, weight: weight.pointer,
        packed: flippedWeight.pointer,
        outputGradient: ConvolutionOutputGradient(gradient: gradient.pointer),
        parameterGradient: ConvolutionParameterGradient(destinations: addresses, hasBias: false),
        inputGradient: ConvolutionInputGradient(
          gradient: dX.pointer, mean: operands.isMasked ? UnsafePointer(mean.pointer) : nil,
          sums: operands.isMasked ? sums.pointer : nil,
          addend: operands.addend == .none
            ? nil : UnsafePointer(operands.addend == .other ? other.pointer : dX.pointer)),
        scratch: scratch.pointer)
    }
    // Swift releases a buffer after its last use, which must follow the calls that have its address.
    for buffer in [
      x, weight, packedWeight, flippedWeight, scratch, scale, shift, mean, y, gradient, other, dX, parameters,
    ] { #expect(buffer.isIntact) }
    #expect(sums.isIntact && mask.isIntact && x.elements == shape.x)
    #expect(operands.isMasked || sums.elements.allSatisfy(\.isNaN))

    let argument = engine.normalized(
      x.elements, operands.normalizes ? (scale.elements, shift.elements) : nil, channels: channels)
    let d = (0..<x.count).map { operands.hasDropout ? (mask.keeps($0) ? Double(mask.operand.scale) : 0) : 1 }
    let z = zip(argument, d).map { Double($0) * $1 }
    let w = doubles(weight.elements)
    let zeros = [Double](repeating: 0, count: g.outputChannels)
    let (absoluteW, absoluteZ) = (w.map(abs), z.map(abs))
    expectClose(
      y.elements, ReferenceConvolution.forward(g, z, weight: w, bias: zeros),
      terms: ReferenceConvolution.forward(g, absoluteZ, weight: absoluteW, bias: zeros), isMixed: engine.mixes(g),
      "y, \(name)")

    let exact = ReferenceConvolution.backward(g, z, weight: w, outputGradient: doubles(gradient.elements))
    let terms = ReferenceConvolution.backward(
      g, absoluteZ, weight: absoluteW, outputGradient: doubles(gradient.elements).map(abs))
    expectClose(parameters.elements, exact.weight, terms: terms.weight, isMixed: engine.mixes(g), "dW, \(name)")
    let added = operands.addend == .none ? [Double](repeating: 0, count: x.count) : doubles(other.elements)
    let expected = added.indices.map { i in
      operands.isMasked && argument[i] <= 0 ? 0 : d[i] * exact.input[i] + added[i]
    }
    let inputTerms = added.indices.map { d[$0] * terms.input[$0] + abs(added[$0]) }
    // `elements` is a copy.
    let found = dX.elements
    expectClose(found, expected, terms: inputTerms, isMixed: engine.mixes(g), "dX, \(name)")
    // What is masked or dropped is 0, not a small number.
    for i in expected.indices where expected[i] == 0 { #expect(found[i] == 0, "dX[\(i)], \(name)") }
    guard operands.isMasked else { return }
    expectInputGradientSums(sums.elements, found, x.elements, mean.elements, channels: channels)
  }

  /// A dropped element is 0, whatever it was.
  @Test(arguments: TestedEngine.all, [ConvolutionCase(1, size: 4, 2, 3), ConvolutionCase(1, size: 4, 16, 16)])
  func droppedElementsAreZeroEvenIfNotFinite(engine: TestedEngine, shape: ConvolutionCase) {
    let g = shape.geometry
    let mask = TestedDropout(shape, probability: 0.5)
    let ones = GuardedBuffer([Float](repeating: 1, count: g.inputChannels))
    let (weight, scratch) = (GuardedBuffer(shape.weight), engine.scratch(shape))
    let packed = engine.packed(shape, weight, for: .forward)
    func output(_ x: [Float]) -> [Float] {
      let x = GuardedBuffer(x)
      let y = GuardedBuffer([Float](repeating: .nan, count: shape.outputCount))
      engine.engine.forward(
        g, MicrobatchRange(imageCount: 1),
        input: ConvolutionInput(
          activation: x.pointer, normalization: NormalizedReLU(scale: ones.pointer, shift: ones.pointer),
          dropout: mask.operand),
        weight: weight.pointer, packed: packed.pointer, bias: nil,
        output: ConvolutionOutput(activation: y.pointer, addend: nil, sums: nil), scratch: scratch.pointer)
      #expect(x.isIntact)
      return y.elements
    }
    let finite = output(shape.x)
    #expect(finite.allSatisfy { $0.isFinite })
    #expect(output(shape.x.enumerated().map { mask.keeps($0) ? $1 : .infinity }) == finite)
    #expect(output(shape.x.enumerated().map { mask.keeps($0) ? $1 : .nan }) == finite)
    for buffer in [ones, weight, scratch, packed] { #expect(buffer.isIntact) }
  }
}

/// A dropout mask for the input of a convolution.
final class TestedDropout {
  private let words: GuardedBuffer<UInt16>
  let operand: DropoutMask

  init(_ shape: ConvolutionCase, probability: Double) {
    let count = shape.images * shape.geometry.inputCount
    let kept = shape.numbers("dropout", count, scale: 0.5, offset: 0.5).map { Double($0) >= probability }
    words = GuardedBuffer(
      (0..<count / 16).map { w in (0..<16).reduce(into: UInt16(0)) { $0 |= kept[16 * w + $1] ? 1 << $1 : 0 } })
    operand = DropoutMask(words: words.pointer, scale: Float(1 / (1 - probability)))
  }

  func keeps(_ i: Int) -> Bool { withExtendedLifetime(words) { $0.pointer[i / 16] & 1 << (i % 16) != 0 } }
  var isIntact: Bool { words.isIntact }
}
