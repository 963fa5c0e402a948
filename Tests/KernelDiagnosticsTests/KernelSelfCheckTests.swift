import KernelDiagnostics
import Models
import Tensors
import Testing

/// The check that `doctor` runs: it passes on this machine, and it finds kernels with wrong results.
@Suite struct KernelSelfCheckTests {
  private static let check = KernelSelfCheck()
  private static let sets = InstructionSet.allCases.filter(\.isSupported)

  @Test func everyEngineOfThisMachinePasses() throws {
    let engines: [any ConvolutionEngine] =
      [BLASConvolutionEngine()] + Self.sets.map { NativeConvolutionEngine($0) }
    for engine in engines {
      let summary = try Self.check(engine)
      // Six results of each of 19 + 9 paths, but for the stem's input gradient; 5 + 7 + 6 + 7 of each set of operands; 6
      // of masked and 5 of unmasked gradients with dropout or other readers; one dropout mask.
      #expect(summary.comparisonCount == 112 + 54 + 4 * 25 + 6 * (3 * 6 + 3 * 5) + 1)
      #expect(summary.largestError < 2e-6, "\(engine.instructions): \(summary.location)")
      #expect(summary.largestError > 1e-9, "fp32 rounds")
    }
  }

  @Test func instructionSetsAreBitwiseEqual() throws {
    let summaries = try Self.sets.map { ($0.rawValue, try Self.check(NativeConvolutionEngine($0))) }
    for other in summaries.dropFirst() {
      try KernelSelfCheck.verifyBitwiseEqual(summaries[0], other)
    }
  }

  @Test func recordingPhasesChangesNoResult() throws {
    for set in Self.sets {
      let counts = AlignedBuffer<UInt64>(count: ConvolutionPhase.allCases.count)
      counts.elements.update(repeating: 0)
      let recording = NativeConvolutionEngine(
        set, kernels: set.kernels, recording: PhaseTicks(counts.pointer))
      try KernelSelfCheck.verifyBitwiseEqual(
        ("plain", try Self.check(NativeConvolutionEngine(set))), ("recording", try Self.check(recording)))
      for phase in ConvolutionPhase.allCases { #expect(counts.pointer[phase.rawValue] > 0, "\(set), \(phase)") }
    }
  }

  /// A wrong value among the results of a pass.
  enum Defect: CaseIterable, Sendable { case forward, weightGradient, inputGradient, biasGradient, sums, nan }

  /// Returns a table whose functions call the real ones and then corrupt one value.
  private static func broken(_ good: ConvolutionKernelTable, _ defect: Defect) -> ConvolutionKernelTable {
    good.replacing(
      forward: { geometry, microbatches, input, packed, bias, output, scratch, ticks in
        good.forward(geometry, microbatches, input, packed, bias, output, scratch, ticks)
        switch defect {
        case .forward: output.activation[17] += 0.01
        case .nan: output.activation[3] = .nan
        case .sums: output.sums?[1] += 1
        default: break
        }
      },
      backward: { geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch, ticks in
        good.backward(geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch, ticks)
        switch defect {
        case .weightGradient: parameters.weight(0)[5] *= 1.01
        case .inputGradient: inputGradient?.gradient[9] += 0.01
        case .biasGradient: parameters.bias(0, geometry)?[2] += 0.01
        default: break
        }
      })
  }

  @Test(arguments: Defect.allCases)
  func aBrokenKernelIsFound(defect: Defect) throws {
    for instructionSet in Self.sets {
      let engine = NativeConvolutionEngine(
        instructionSet, kernels: Self.broken(instructionSet.kernels, defect))
      let error = #expect(throws: KernelMismatch.self) { try Self.check(engine) }
      let sentence = error?.description ?? ""
      #expect(sentence.hasPrefix("the native kernels for \(instructionSet.rawValue) compute wrongly here: "))
      #expect(sentence.contains("--engine blas"))
    }
  }

  @Test func aWrongDropoutMaskIsFound() throws {
    for instructionSet in Self.sets {
      let good = instructionSet.kernels
      let kernels = good.replacing(fillDropoutMask: { stream, words, count, step, sample in
        good.fillDropoutMask(stream, words, count, step, sample)
        words[count - 1] ^= 1 << 11
      })
      let engine = NativeConvolutionEngine(instructionSet, kernels: kernels)
      #expect(throws: KernelMismatch.self) { try Self.check(engine) }
    }
  }

  /// A defect that only operands of one kind reveal.
  enum OperandDefect: CaseIterable, Sendable {
    case coefficientsOfTheFirstMicrobatch, gradientCoefficientsOfTheFirstMicrobatch, meansOfTheFirstMicrobatch
    case onlyTheFirstMicrobatch, oneDestinationForAllMicrobatches
    case addendClearedWithTheOutput, savedGradientMissing, savedGradientWithoutTheAddend, gradientAddendIgnored
    case inputGradientNotInPlace
    case dropoutIgnored, dropoutIgnoredInBackward, dropoutScaleIgnored, dropoutOfTheFirstMicrobatch
    case inputAddendIgnored, firstReaderIsMasked, lastReaderIsNotMasked
  }

  /// Returns a table whose functions call the real ones with operands changed as a defect would.
  private static func broken(_ good: ConvolutionKernelTable, _ defect: OperandDefect) -> ConvolutionKernelTable {
    good.replacing(
      forward: { geometry, microbatches, input, packed, bias, output, scratch, ticks in
        var (input, range) = (input, microbatches)
        switch defect {
        case .coefficientsOfTheFirstMicrobatch:
          let map = input.normalization.map { NormalizedReLU(scale: $0.scale, shift: $0.shift) }
          input = ConvolutionInput(activation: input.activation, normalization: map)
        case .onlyTheFirstMicrobatch:
          range = MicrobatchRange(imageCount: microbatches.imagesPerMicrobatch)
        case .addendClearedWithTheOutput where output.addend == UnsafePointer(output.activation):
          output.activation.update(repeating: 0, count: microbatches.imageCount * geometry.outputCount)
        case .dropoutIgnored, .dropoutScaleIgnored, .dropoutOfTheFirstMicrobatch:
          return withDropout(of: input, defect, microbatches, geometry) {
            good.forward(geometry, range, $0, packed, bias, output, scratch, ticks)
          }
        default: break
        }
        good.forward(geometry, range, input, packed, bias, output, scratch, ticks)
      },
      backward: { geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch, ticks in
        var (gradient, inputGradient, map) = (gradient, inputGradient, gradient.normalization)
        var (addend, stored) = (gradient.addend, gradient.savedGradient)
        var input = input
        switch defect {
        case .dropoutIgnoredInBackward:
          input = ConvolutionInput(activation: input.activation, normalization: input.normalization)
        case .inputAddendIgnored:
          inputGradient = inputGradient.map {
            ConvolutionInputGradient(
              gradient: $0.gradient, mean: $0.mean, sums: $0.sums, microbatchStride: $0.microbatchStride)
          }
        case .lastReaderIsNotMasked where inputGradient?.addend != nil:
          inputGradient = inputGradient.map { ConvolutionInputGradient(gradient: $0.gradient, addend: $0.addend) }
        case .gradientCoefficientsOfTheFirstMicrobatch:
          map = map.map {
            NormalizationBackward(
              activation: $0.activation, gradientScale: $0.gradientScale, activationScale: $0.activationScale,
              constant: $0.constant)
          }
        case .inputGradientNotInPlace where input.normalization == nil: inputGradient = nil
        case .meansOfTheFirstMicrobatch:
          inputGradient = inputGradient.map {
            ConvolutionInputGradient(gradient: $0.gradient, mean: $0.mean, sums: $0.sums)
          }
        case .savedGradientMissing: stored = nil
        case .savedGradientWithoutTheAddend where stored != nil: addend = nil
        case .gradientAddendIgnored where stored == nil: addend = nil
        default: break
        }
        gradient = ConvolutionOutputGradient(
          gradient: gradient.gradient, normalization: map, addend: addend, savedGradient: stored)
        guard defect == .oneDestinationForAllMicrobatches else {
          good.backward(geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch, ticks)
          guard defect == .firstReaderIsMasked, let inputGradient, inputGradient.sums == nil else { return }
          return mask(inputGradient.gradient, input, microbatches, geometry)
        }
        let destinations = (0..<microbatches.microbatchCount).map { _ in parameters.weight(0) }
        destinations.withUnsafeBufferPointer { destinations in
          guard let destinations = destinations.baseAddress else { return }
          good.backward(
            geometry, microbatches, input, packed, gradient,
            ConvolutionParameterGradient(destinations: destinations, hasBias: parameters.hasBias), inputGradient,
            scratch, ticks)
        }
      })
  }

  /// Calls `body` with the input as a defect of its dropout would read it.
  private static func withDropout(
    of input: ConvolutionInput, _ defect: OperandDefect, _ microbatches: MicrobatchRange, _ g: ConvolutionGeometry,
    _ body: (ConvolutionInput) -> Void
  ) {
    guard let dropout = input.dropout else { return body(input) }
    let period = defect == .dropoutOfTheFirstMicrobatch ? microbatches.images(of: 0).count : microbatches.imageCount
    let words = (0..<microbatches.imageCount * g.inputCount / 16).map {
      dropout.words[$0 % (period * g.inputCount / 16)]
    }
    words.withUnsafeBufferPointer { words in
      guard let words = words.baseAddress else { return }
      let mask = DropoutMask(words: words, scale: defect == .dropoutScaleIgnored ? 1 : dropout.scale)
      body(
        ConvolutionInput(
          activation: input.activation, normalization: input.normalization,
          dropout: defect == .dropoutIgnored ? nil : mask))
    }
  }

  /// Masks a gradient by the ReLU of a normalized input.
  private static func mask(
    _ gradient: UnsafeMutablePointer<Float>, _ input: ConvolutionInput, _ microbatches: MicrobatchRange,
    _ g: ConvolutionGeometry
  ) {
    guard let map = input.normalization else { return }
    for i in 0..<microbatches.imageCount * g.inputCount {
      let c = microbatches.microbatch(of: i / g.inputCount) * map.microbatchStride + i % g.inputChannels
      if map.scale[c] * input.activation[i] + map.shift[c] <= 0 { gradient[i] = 0 }
    }
  }

  @Test(arguments: OperandDefect.allCases)
  func aKernelThatIsWrongForSomeOperandsIsFound(defect: OperandDefect) throws {
    for instructionSet in Self.sets {
      let engine = NativeConvolutionEngine(
        instructionSet, kernels: Self.broken(instructionSet.kernels, defect))
      #expect(throws: KernelMismatch.self) { try Self.check(engine) }
    }
  }

  @Test func differentBitsAreFound() throws {
    guard let instructionSet = Self.sets.first else { return }
    let summary = try Self.check(NativeConvolutionEngine(instructionSet))
    let portable = try Self.check(BLASConvolutionEngine())
    #expect(throws: KernelMismatch.self) {
      try KernelSelfCheck.verifyBitwiseEqual(("a", summary), ("b", portable))
    }
  }
}
