import KernelDiagnostics
import Models
import Tensors
import Testing

/// The check that `doctor` runs: it passes here, and it notices kernels that compute wrongly.
@Suite struct KernelSelfCheckTests {
  private static let check = KernelSelfCheck()
  private static let sets = InstructionSet.allCases.filter(\.isSupported)

  @Test func everyEngineOfThisMachinePasses() throws {
    let engines: [any ConvolutionEngine] =
      [BLASConvolutionEngine()] + Self.sets.map { NativeConvolutionEngine($0) }
    for engine in engines {
      let findings = try Self.check(engine)
      // Thirteen paths with six results each; the stem has no gradient of its input.
      #expect(findings.comparisonCount == 76)
      #expect(findings.largestError < 2e-6, "\(engine.instructions): \(findings.place)")
      #expect(findings.largestError > 1e-9, "fp32 rounds")
    }
  }

  @Test func instructionSetsAgreeToTheBit() throws {
    let findings = try Self.sets.map { ($0.rawValue, try Self.check(NativeConvolutionEngine($0))) }
    for other in findings.dropFirst() {
      try KernelSelfCheck.verifyBitwiseEqual(findings[0], other)
    }
  }

  /// What a defect does to the numbers of a pass.
  enum Defect: CaseIterable, Sendable { case forward, weightGradient, inputGradient, biasGradient, sums, notANumber }

  /// A table whose functions call the real ones and then spoil a single number.
  private static func broken(_ good: ConvolutionKernelTable, _ defect: Defect) -> ConvolutionKernelTable {
    good.replacing(
      forward: { geometry, microbatches, input, packed, bias, output, scratch in
        good.forward(geometry, microbatches, input, packed, bias, output, scratch)
        switch defect {
        case .forward: output.activation[17] += 0.01
        case .notANumber: output.activation[3] = .nan
        case .sums: output.sums?[1] += 1
        default: break
        }
      },
      backward: { geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch in
        good.backward(geometry, microbatches, input, packed, gradient, parameters, inputGradient, scratch)
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

  @Test func otherBitsAreFound() throws {
    guard let instructionSet = Self.sets.first else { return }
    let findings = try Self.check(NativeConvolutionEngine(instructionSet))
    let portable = try Self.check(BLASConvolutionEngine())
    #expect(throws: KernelMismatch.self) {
      try KernelSelfCheck.verifyBitwiseEqual(("a", findings), ("b", portable))
    }
  }
}
