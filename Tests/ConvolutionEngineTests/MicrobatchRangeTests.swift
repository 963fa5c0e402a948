import Models
import Tensors
import TestSupport
import Testing

/// The number of microbatches per call does not affect results: each has the bits of a call for itself.
@Suite struct MicrobatchRangeTests {
  /// Microbatches of `perMicrobatch` images, the last with what is left.
  struct Case: CustomTestStringConvertible, Sendable {
    let shape: ConvolutionCase
    let perMicrobatch: Int
    var testDescription: String { "\(shape.testDescription), microbatches of \(perMicrobatch)" }
  }

  /// How the input is read: with coefficients per microbatch, with dropout too and an addend to its gradient, or raw.
  enum Operands: CaseIterable { case normalized, dropout, raw }

  static let cases = [
    // Image blocks: rows of one image, one image, some images of a microbatch, one or several whole microbatches.
    Case(shape: ConvolutionCase(3, size: 32, 16, 32), perMicrobatch: 1),
    Case(shape: ConvolutionCase(5, size: 16, 32, 32), perMicrobatch: 3),
    Case(shape: ConvolutionCase(23, size: 8, 32, 16), perMicrobatch: 10),
    Case(shape: ConvolutionCase(11, size: 8, 32, 32), perMicrobatch: 4),
    Case(shape: ConvolutionCase(7, size: 8, 16, 32), perMicrobatch: 2),
    Case(shape: ConvolutionCase(11, size: 8, 32, 32), perMicrobatch: 3),
    // The same at stride 2, where positions share a weight matrix: the order of tiles determines its gradient's bits.
    Case(shape: ConvolutionCase(5, size: 32, 16, 32, stride: 2), perMicrobatch: 3),
    Case(shape: ConvolutionCase(23, size: 16, 32, 16, stride: 2), perMicrobatch: 10),
    Case(shape: ConvolutionCase(7, size: 16, 16, 32, stride: 2, padding: 1), perMicrobatch: 2),
    // Weights so large that tile blocks have 64 tiles.
    Case(shape: ConvolutionCase(21, size: 8, 160, 192), perMicrobatch: 4),
    Case(shape: ConvolutionCase(21, size: 16, 160, 192, stride: 2), perMicrobatch: 4),
    Case(shape: ConvolutionCase(5, size: 16, 176, 176), perMicrobatch: 2),
    // Tiles that reach beyond the image.
    Case(shape: ConvolutionCase(23, size: 6, 32, 16), perMicrobatch: 10),
    Case(shape: ConvolutionCase(7, size: 7, 16, 32), perMicrobatch: 2),
    Case(shape: ConvolutionCase(7, size: 14, 16, 32, stride: 2, padding: 1), perMicrobatch: 2),
    Case(shape: ConvolutionCase(2, size: 30, 16, 16), perMicrobatch: 1),
    // Pointwise products.
    Case(shape: ConvolutionCase(2, size: 32, 64, 64, stride: 1, kernel: 1, padding: 0), perMicrobatch: 1),
    Case(shape: ConvolutionCase(23, size: 8, 256, 128, stride: 1, kernel: 1, padding: 0), perMicrobatch: 10),
    Case(shape: ConvolutionCase(11, size: 8, 64, 128, stride: 2, kernel: 1, padding: 0), perMicrobatch: 3),
    Case(shape: ConvolutionCase(5, size: 32, 64, 64, stride: 2, kernel: 1, padding: 0), perMicrobatch: 2),
    // Direct products.
    Case(shape: ConvolutionCase(5, size: 7, 5, 7), perMicrobatch: 2),
    Case(shape: ConvolutionCase(5, size: 8, 32, 64, stride: 2, kernel: 1), perMicrobatch: 2),
  ]

  @Test(arguments: cases, TestedEngine.all)
  func anyNumberAtOnce(example: Case, engine: TestedEngine) {
    let all = MicrobatchRange(imageCount: example.shape.images, imagesPerMicrobatch: example.perMicrobatch)
    for operands in Operands.allCases where operands != .dropout || example.shape.geometry.inputCount.isMultiple(of: 16)
    {
      let alone = results(example.shape, all, engine, microbatchesPerCall: 1, operands)
      for count in [2, all.microbatchCount] {
        let together = results(example.shape, all, engine, microbatchesPerCall: count, operands)
        for (mine, expected) in zip(together, alone) {
          #expect(mine.bits == expected.bits, "\(operands): \(mine.name) of \(count) microbatches at once")
        }
      }
    }
  }

  /// The first microbatch of a pair has the sum of both weight gradients of separate calls, bit by bit; biases are not summed.
  @Test(arguments: cases, TestedEngine.all)
  func pairsAreSummedOnDemand(example: Case, engine: TestedEngine) {
    let g = example.shape.geometry
    let all = MicrobatchRange(imageCount: example.shape.images, imagesPerMicrobatch: example.perMicrobatch)
    let alone = results(example.shape, all, engine, microbatchesPerCall: 1, .normalized)
    func parameters(_ m: Int, of results: [(name: String, bits: [UInt64])]) -> [Float]? {
      results.first { $0.name == Self.parameterName(m) }?.bits.map { Float(bitPattern: UInt32($0)) }
    }
    for count in [2, 4] {
      let summed = results(example.shape, all, engine, microbatchesPerCall: count, .normalized, sumsPairs: true)
      for m in 0..<all.microbatchCount {
        guard let mine = parameters(m, of: summed), var expected = parameters(m, of: alone) else {
          Issue.record("no gradients of microbatch \(m)")
          continue
        }
        if m.isMultiple(of: 2) {
          if let other = parameters(m + 1, of: alone) {
            for i in 0..<g.weightCount { expected[i] += other[i] }
          }
          #expect(mine.map(\.bitPattern) == expected.map(\.bitPattern), "\(m) of \(count) at once")
        } else {
          let (found, bias) = (mine.suffix(g.outputChannels), expected.suffix(g.outputChannels))
          #expect(Array(found) == Array(bias), "the bias gradient of \(m) of \(count) at once")
        }
      }
    }
  }

  private static func parameterName(_ m: Int) -> String { "dW, dB \(m)" }

  /// Computes both passes.
  private func results(
    _ shape: ConvolutionCase, _ all: MicrobatchRange, _ engine: TestedEngine, microbatchesPerCall: Int,
    _ operands: Operands, sumsPairs: Bool = false
  ) -> [(name: String, bits: [UInt64])] {
    let g = shape.geometry
    let (channels, filters, count) = (g.inputChannels, g.outputChannels, all.microbatchCount)
    func numbers(_ name: String, _ count: Int) -> GuardedBuffer<Float> { GuardedBuffer(shape.numbers(name, count)) }
    func unset(_ count: Int) -> GuardedBuffer<Float> { GuardedBuffer([Float](repeating: .nan, count: count)) }
    let (x, weight) = (GuardedBuffer(shape.x), GuardedBuffer(shape.weight))
    let dropout = TestedDropout(shape, probability: 0.3)
    let inputAddend = numbers("input addend", shape.x.count)
    let bias = GuardedBuffer(shape.bias)
    let (scale, shift) = (numbers("scale", count * channels), numbers("shift", count * channels))
    let mean = numbers("mean", count * channels)
    let maps = ["ca", "cb", "cc"].map { numbers($0, count * filters) }
    let (gradient, activation) = (numbers("g", shape.outputCount), numbers("y", shape.outputCount))
    let addend = numbers("addend", shape.outputCount)
    let (y, saved, dX) = (unset(shape.outputCount), unset(shape.outputCount), unset(shape.x.count))
    let parameters = (0..<count).map { _ in unset(g.weightCount + filters) }
    let outputSums = GuardedBuffer([Double](repeating: .nan, count: count * 2 * filters))
    let inputSums = GuardedBuffer([Double](repeating: .nan, count: count * 2 * channels))
    let longest = MicrobatchRange(
      imageCount: min(microbatchesPerCall * all.imagesPerMicrobatch, all.imageCount),
      imagesPerMicrobatch: all.imagesPerMicrobatch)
    let scratch = unset(engine.engine.scratchCount(g, longest))
    let packedWeight = engine.packed(shape, weight, for: .forward)
    let flippedWeight = engine.packed(shape, weight, for: .backward)

    for m in stride(from: 0, to: count, by: microbatchesPerCall) {
      let first = m * all.imagesPerMicrobatch
      let last = min(m + microbatchesPerCall, count) - 1
      let microbatches = MicrobatchRange(
        imageCount: all.images(of: last).upperBound - first, imagesPerMicrobatch: all.imagesPerMicrobatch)
      let (inputs, outputs) = (first * g.inputCount, first * g.outputCount)
      let input = ConvolutionInput(
        activation: x.pointer + inputs,
        normalization: operands == .raw
          ? nil
          : NormalizedReLU(
            scale: scale.pointer + m * channels, shift: shift.pointer + m * channels, microbatchStride: channels),
        dropout: operands == .dropout ? dropout.operand.advanced(by: inputs) : nil)
      engine.engine.forward(
        g, microbatches, input: input, weight: weight.pointer, packed: packedWeight.pointer, bias: bias.pointer,
        output: ConvolutionOutput(
          activation: y.pointer + outputs, addend: addend.pointer + outputs,
          sums: outputSums.pointer + m * 2 * filters),
        scratch: scratch.pointer)
      parameters[m...last].map(\.pointer).withUnsafeBufferPointer { addresses in
        guard let addresses = addresses.baseAddress else { return }
        engine.engine.backward(
          g, microbatches, input: input, weight: weight.pointer, packed: flippedWeight.pointer,
          outputGradient: ConvolutionOutputGradient(
            gradient: gradient.pointer + outputs,
            normalization: NormalizationBackward(
              activation: activation.pointer + outputs, gradientScale: maps[0].pointer + m * filters,
              activationScale: maps[1].pointer + m * filters, constant: maps[2].pointer + m * filters,
              microbatchStride: filters),
            addend: addend.pointer + outputs, savedGradient: saved.pointer + outputs),
          parameterGradient: ConvolutionParameterGradient(
            destinations: addresses, hasBias: true, sumsPairs: sumsPairs),
          inputGradient: operands == .raw
            ? ConvolutionInputGradient(gradient: dX.pointer + inputs)
            : ConvolutionInputGradient(
              gradient: dX.pointer + inputs, mean: mean.pointer + m * channels,
              sums: inputSums.pointer + m * 2 * channels,
              addend: operands == .dropout ? UnsafePointer(inputAddend.pointer + inputs) : nil,
              microbatchStride: channels),
          scratch: scratch.pointer)
      }
    }
    for buffer in [y, saved, dX, scratch, packedWeight, flippedWeight] + parameters { #expect(buffer.isIntact) }
    #expect(outputSums.isIntact && inputSums.isIntact)
    let complete = parameters.enumerated().filter { !sumsPairs || $0.offset.isMultiple(of: 2) }.map(\.element)
    let isWritten = ([y, saved, dX] + complete).allSatisfy { $0.elements.allSatisfy(\.isFinite) }
    #expect(isWritten, "no element is left as it was")
    let tensors = [("y", y), ("dY", saved), ("dX", dX)] + parameters.enumerated().map { (Self.parameterName($0), $1) }
    return tensors.map { name, buffer in (name, buffer.elements.map { UInt64($0.bitPattern) }) }
      + [("Σ of y", outputSums), ("Σ of dX", inputSums)].map { ($0, $1.elements.map(\.bitPattern)) }
  }
}
