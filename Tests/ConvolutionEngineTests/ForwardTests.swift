import Models
import ReferenceImplementation
import Tensors
import TestSupport
import Testing

/// The forward pass of every engine, compared with the reference implementation, for every kind of operand.
@Suite struct ForwardTests {
  /// The tensor that is added to the output.
  enum Addend: Sendable { case none, other, output }

  @Test(arguments: ConvolutionCase.all, TestedEngine.all)
  func everyElement(shape: ConvolutionCase, engine: TestedEngine) {
    check(shape, engine, .none, normalizes: false, hasBias: true)
    check(shape, engine, .none, normalizes: true, hasBias: false)
    check(shape, engine, .other, normalizes: true, hasBias: true)
    check(shape, engine, .output, normalizes: false, hasBias: true)
  }

  private func check(
    _ shape: ConvolutionCase, _ engine: TestedEngine, _ addend: Addend, normalizes: Bool, hasBias: Bool
  ) {
    let g = shape.geometry
    let (x, weight, scratch) = (GuardedBuffer(shape.x), GuardedBuffer(shape.weight), engine.scratch(shape))
    let packed = engine.packed(shape, weight, for: .forward)
    let bias = GuardedBuffer(hasBias ? shape.bias : [Float](repeating: 0, count: g.outputChannels))
    let scale = GuardedBuffer(shape.numbers("scale", g.inputChannels))
    let shift = GuardedBuffer(shape.numbers("shift", g.inputChannels))
    let other = GuardedBuffer(shape.numbers("addend", shape.outputCount))
    let y = GuardedBuffer(addend == .output ? other.elements : [Float](repeating: .nan, count: shape.outputCount))
    let sums = GuardedBuffer([Double](repeating: .nan, count: 2 * g.outputChannels))
    engine.engine.forward(
      g, MicrobatchRange(imageCount: shape.images),
      input: ConvolutionInput(
        activation: x.pointer,
        normalization: normalizes ? NormalizedReLU(scale: scale.pointer, shift: shift.pointer) : nil),
      weight: weight.pointer, packed: packed.pointer, bias: hasBias ? UnsafePointer(bias.pointer) : nil,
      output: ConvolutionOutput(
        activation: y.pointer,
        addend: addend == .none ? nil : UnsafePointer(addend == .other ? other.pointer : y.pointer),
        sums: sums.pointer),
      scratch: scratch.pointer)
    for buffer in [x, weight, packed, scratch, bias, scale, shift, other, y] { #expect(buffer.isIntact) }
    #expect(sums.isIntact && x.elements == shape.x && weight.elements == shape.weight)

    // z in fp32, rounded as the engine rounds it, so that every ReLU has the same sign.
    let z = engine.normalized(
      x.elements, normalizes ? (scale.elements, shift.elements) : nil, channels: g.inputChannels)
    let added = addend == .none ? [Double](repeating: 0, count: shape.outputCount) : doubles(other.elements)
    let exact = zip(
      ReferenceConvolution.forward(g, doubles(z), weight: doubles(weight.elements), bias: doubles(bias.elements)),
      added
    ).map(+)
    let terms = zip(
      ReferenceConvolution.forward(
        g, doubles(z).map(abs), weight: doubles(weight.elements).map(abs), bias: doubles(bias.elements).map(abs)),
      added
    ).map { $0 + abs($1) }
    expectClose(y.elements, exact, terms: terms, isMixed: engine.mixes(g), "y")
    expectSums(sums.elements, of: y.elements, channels: g.outputChannels)
  }

  /// Expects the sums of the fp32 values written.
  private func expectSums(_ sums: [Double], of y: [Float], channels: Int) {
    for c in 0..<channels {
      let values = stride(from: c, to: y.count, by: channels).map { Double(y[$0]) }
      let (sum, square) = (values.reduce(0, +), values.reduce(0) { $0 + $1 * $1 })
      #expect(abs(sums[c] - sum) <= 1e-6 * values.reduce(0) { $0 + abs($1) })
      #expect(abs(sums[channels + c] - square) <= 1e-6 * square)
    }
  }

  @Test(arguments: TestedEngine.all, [2, 16])
  func nanPropagates(engine: TestedEngine, channels: Int) {
    let shape = ConvolutionCase(1, size: 4, channels, channels)
    var x = shape.x
    x[5] = .nan
    let (input, scratch) = (GuardedBuffer(x), engine.scratch(shape))
    let y = GuardedBuffer([Float](repeating: 0, count: shape.outputCount))
    let scale = GuardedBuffer([Float](repeating: 1, count: channels))
    let shift = GuardedBuffer([Float](repeating: 0, count: channels))
    let weight = GuardedBuffer(shape.weight)
    let packed = engine.packed(shape, weight, for: .forward)
    engine.engine.forward(
      shape.geometry, MicrobatchRange(imageCount: 1),
      input: ConvolutionInput(
        activation: input.pointer,
        normalization: NormalizedReLU(scale: scale.pointer, shift: shift.pointer)),
      weight: weight.pointer, packed: packed.pointer, bias: nil,
      output: ConvolutionOutput(activation: y.pointer, addend: nil, sums: nil), scratch: scratch.pointer)
    for buffer in [input, scratch, scale, shift, weight, packed] { #expect(buffer.isIntact) }
    #expect(y.elements.contains { $0.isNaN }, "a run that has diverged must show it")
  }
}
