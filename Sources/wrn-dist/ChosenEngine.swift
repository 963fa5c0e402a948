import Collectives
import DataParallel
import Foundation
import Models
import Training

/// The convolution engine that all ranks compute with.
struct ChosenEngine {
  /// The engine of this rank.
  let engine: any ConvolutionEngine
  /// Its name and instruction set, those of other ranks where they differ, `native (avx512; avx2 on 1 of 4 ranks)`, and
  /// what was asked for if this CPU cannot run it, `blas (Nehalem; native needs AVX2 and FMA)`.
  let description: String

  /// Makes the engine on every rank.
  ///
  /// Every rank calls it. Ranks may run on different instruction sets, which give the same bits, but not on different
  /// engines: `native` falls back to `blas` on a CPU that it is not built for.
  ///
  /// - Throws: `AgreedFailure` if a rank cannot run what `WRN_ISA` asks for, `LayoutDigest.Mismatch` if engines differ,
  ///   `CommunicationError` if the exchange fails.
  init(_ wanted: TrainingConfiguration.Engine, _ communicator: any Communicator) throws {
    let engine = try Ranks.together(communicator) {
      try wanted.make(environment: ProcessInfo.processInfo.environment)
    }
    var digest = LayoutDigest()
    digest.combine(engine.name)
    try digest.requireEqual(
      "the convolution engine (native needs AVX2, --engine blas runs everywhere)", on: communicator)
    let mine = Self.code(engine)
    let counts = [Int](repeating: 1, count: communicator.worldSize)
    var codes = [UInt8](repeating: 0, count: communicator.worldSize)
    try withUnsafeBytes(of: mine) { mine in
      try codes.withUnsafeMutableBytes {
        try communicator.allGather(mine, into: $0, counts: counts)
      }
    }
    let others = InstructionSet.allCases.enumerated().compactMap { i, instructionSet in
      let count = codes.count { $0 == UInt8(i) && $0 != mine }
      return count == 0 ? nil : "; \(instructionSet.rawValue) on \(count) of \(codes.count) ranks"
    }
    let fallback = wanted.rawValue == engine.name ? "" : "; \(wanted.rawValue) needs AVX2 and FMA"
    self.engine = engine
    description = "\(engine.name) (\(engine.instructions)\(others.joined())\(fallback))"
  }

  /// The instruction set as a number; 255 for OpenBLAS, which chooses for itself.
  private static func code(_ engine: any ConvolutionEngine) -> UInt8 {
    InstructionSet.allCases.firstIndex { $0.rawValue == engine.instructions }.map(UInt8.init) ?? 255
  }
}
