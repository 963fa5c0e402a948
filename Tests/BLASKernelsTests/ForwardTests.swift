import BLASKernels
import ReferenceKernels
import Tensors
import TestSupport
import Testing

/// `BLASConvolution.forward` against the definition, with every kind of operand.
@Suite struct ForwardTests {
  /// What is added to the output.
  enum Addend: CaseIterable, Sendable { case none, other, output }

  @Test(arguments: ConvolutionCase.all, Addend.allCases)
  func everyElement(shape: ConvolutionCase, addend: Addend) {
    for (normalizes, hasBias) in [(false, true), (true, true), (true, false)] {
      check(shape, addend, normalizes: normalizes, hasBias: hasBias)
    }
  }

  private func check(_ shape: ConvolutionCase, _ addend: Addend, normalizes: Bool, hasBias: Bool) {
    let g = shape.geometry
    let (x, weight, scratch) = (GuardedBuffer(shape.x), GuardedBuffer(shape.weight), shape.scratch)
    let bias = GuardedBuffer(hasBias ? shape.bias : [Float](repeating: 0, count: g.outputChannels))
    let scale = GuardedBuffer(shape.numbers("scale", g.inputChannels))
    let shift = GuardedBuffer(shape.numbers("shift", g.inputChannels))
    let other = GuardedBuffer(shape.numbers("addend", shape.outputCount))
    let y = GuardedBuffer(addend == .output ? other.elements : [Float](repeating: .nan, count: shape.outputCount))
    let sums = GuardedBuffer([Double](repeating: .nan, count: 2 * g.outputChannels))
    BLASConvolution.forward(
      g, imageCount: shape.images,
      input: ConvolutionInput(
        activation: x.pointer,
        normalization: normalizes ? NormalizedReLU(scale: scale.pointer, shift: shift.pointer) : nil),
      weight: weight.pointer, bias: hasBias ? UnsafePointer(bias.pointer) : nil,
      output: ConvolutionOutput(
        activation: y.pointer,
        addend: addend == .none ? nil : UnsafePointer(addend == .other ? other.pointer : y.pointer),
        sums: sums.pointer),
      scratch: scratch.pointer)
    for buffer in [x, weight, scratch, bias, scale, shift, other, y] { #expect(buffer.isIntact) }
    #expect(sums.isIntact && x.elements == shape.x && weight.elements == shape.weight)

    // z in fp32, as the engine forms it, so that no ReLU falls on the other side.
    let z = x.elements.enumerated().map { i, value in
      normalizes ? max(0, scale.elements[i % g.inputChannels] * value + shift.elements[i % g.inputChannels]) : value
    }
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
    expectClose(y.elements, exact, terms: terms, "y")
    expectSums(sums.elements, of: y.elements, channels: g.outputChannels)
  }

  /// The sums are those of the fp32 values written.
  private func expectSums(_ sums: [Double], of y: [Float], channels: Int) {
    for c in 0..<channels {
      let values = stride(from: c, to: y.count, by: channels).map { Double(y[$0]) }
      let (sum, square) = (values.reduce(0, +), values.reduce(0) { $0 + $1 * $1 })
      #expect(abs(sums[c] - sum) <= 1e-6 * values.reduce(0) { $0 + abs($1) })
      #expect(abs(sums[channels + c] - square) <= 1e-6 * square)
    }
  }

  @Test func notANumberGoesThrough() {
    let shape = ConvolutionCase(1, size: 4, 2, 2)
    var x = shape.x
    x[5] = .nan
    let (input, y, scratch) = (GuardedBuffer(x), GuardedBuffer([Float](repeating: 0, count: 32)), shape.scratch)
    let (scale, shift) = (GuardedBuffer<Float>([1, 1]), GuardedBuffer<Float>([0, 0]))
    let weight = GuardedBuffer(shape.weight)
    BLASConvolution.forward(
      shape.geometry, imageCount: 1,
      input: ConvolutionInput(
        activation: input.pointer,
        normalization: NormalizedReLU(scale: scale.pointer, shift: shift.pointer)),
      weight: weight.pointer, bias: nil,
      output: ConvolutionOutput(activation: y.pointer, addend: nil, sums: nil), scratch: scratch.pointer)
    #expect(y.elements.contains { $0.isNaN }, "a run that has diverged must show it")
  }
}
