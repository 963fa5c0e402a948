import Foundation
import Models
import Tensors

/// A quick check of every path of an engine's kernels against the definition, for `doctor`.
///
/// A compiler, an emulator or a machine that computes wrongly must not train. The tests try more shapes and every element;
/// this takes a fraction of a second.
public struct KernelSelfCheck: Sendable {
  /// The largest error that rounding can explain; the tests hold the kernels to less.
  public static let limit = (relativeL2: 1e-5, worst: 1e-4)

  /// One way through the kernels and a shape that takes it.
  struct Path: Sendable {
    let name: String
    let example: ConvolutionExample

    init(_ name: String, _ images: Int, size: Int, _ inputs: Int, _ outputs: Int, stride: Int, padding: Int) {
      self.name = name
      example = ConvolutionExample(
        ConvolutionGeometry(
          inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: 3,
          stride: stride, padding: padding), imageCount: images, maps: .arbitrary)
    }

    init(_ name: String, _ images: Int, size: Int, _ inputs: Int, _ outputs: Int, stride: Int = 1, kernel: Int = 3) {
      self.name = name
      example = ConvolutionExample(
        ConvolutionGeometry(
          inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: kernel,
          stride: stride), imageCount: images, maps: .arbitrary)
    }
  }

  // Algorithms that work on tiles take all images at once, some at a time, or parts of an image at a time, at stride 1 and
  // 2; direct products, which take what tiles do not cover, have whole vectors of channels or not.
  static let paths = [
    Path("stem", 1, size: 32, 3, 16), Path("3×3, all images at once", 2, size: 8, 64, 64),
    Path("3×3, some images at a time", 3, size: 16, 32, 32), Path("3×3, parts of an image", 1, size: 32, 16, 32),
    Path("3×3, stride 2, all images at once", 2, size: 16, 32, 64, stride: 2),
    Path("3×3, stride 2, parts of an image", 1, size: 64, 16, 32, stride: 2),
    Path("3×3, stride 2, padded on both sides", 2, size: 16, 32, 32, stride: 2, padding: 1),
    // Kernels that are streamed, in panels of every width that they are packed in.
    Path("3×3, large kernel", 2, size: 8, 192, 160),
    Path("3×3, stride 2, large kernel", 1, size: 16, 192, 160, stride: 2),
    Path("3×3 of odd sizes", 2, size: 7, 20, 24), Path("3×3, stride 2, 12×12", 2, size: 12, 32, 64, stride: 2),
    Path("1×1", 2, size: 8, 32, 48, kernel: 1), Path("1×1, stride 2", 2, size: 8, 32, 64, stride: 2, kernel: 1),
  ]

  private let exact: [ConvolutionResults<Double>]

  /// Computes what every path should give.
  public init() { exact = Self.paths.map { $0.example.exactResults() } }

  /// What a check that succeeded found.
  public struct Summary: Sendable {
    /// The largest relative L2 error of any result.
    public let largestError: Double
    /// The path and the operation with that error.
    public let place: String
    /// The number of results that were compared.
    public let comparisonCount: Int
    let results: [ConvolutionResults<Float>]
  }

  /// Runs every path, forward and backward.
  ///
  /// - Parameter engine: What is checked.
  /// - Returns: The errors found.
  /// - Throws: ``KernelMismatch`` if one is larger than rounding explains.
  public func callAsFunction(_ engine: any ConvolutionEngine) throws -> Summary {
    var largest = (error: 0.0, place: "")
    var count = 0
    var allResults: [ConvolutionResults<Float>] = []
    for (path, exact) in zip(Self.paths, exact) {
      let results = path.example.results(of: engine)
      for (operation, error) in results.errors(against: exact) {
        let place = "\(path.name), \(operation.rawValue)"
        guard error.relativeL2 <= Self.limit.relativeL2, error.worst <= Self.limit.worst else {
          throw KernelMismatch(
            "the \(engine.name) kernels for \(engine.instructions) compute wrongly here: \(place) is off by "
              + "\(String(format: "%.1e", error.relativeL2)) of its size, where rounding explains "
              + "\(String(format: "%.0e", Self.limit.relativeL2)); \(KernelMismatch.remedy(engine)).")
        }
        count += 1
        if error.relativeL2 >= largest.error { largest = (error.relativeL2, place) }
      }
      allResults.append(results)
    }
    return Summary(
      largestError: largest.error, place: largest.place, comparisonCount: count,
      results: allResults)
  }

  /// Compares the bits of two instruction sets.
  ///
  /// - Throws: ``KernelMismatch`` if any result differs.
  public static func verifyBitwiseEqual(
    _ a: (name: String, findings: Summary), _ b: (name: String, findings: Summary)
  ) throws {
    for (path, (one, other)) in zip(paths, zip(a.findings.results, b.findings.results)) {
      for (mine, theirs) in zip(one.byOperation, other.byOperation)
      where mine.values.map(\.bitPattern) != theirs.values.map(\.bitPattern) {
        throw KernelMismatch(
          "the kernels for \(a.name) and \(b.name) give different bits: \(path.name), \(mine.operation.rawValue); "
            + "set WRN_ISA to the same value on all ranks and report it.")
      }
    }
  }
}

/// Kernels that do not compute what they should.
public struct KernelMismatch: Error, CustomStringConvertible {
  /// Which kernels, where, by how much, and what to do.
  public let description: String

  init(_ description: String) { self.description = description }

  /// What is left to train with.
  static func remedy(_ engine: any ConvolutionEngine) -> String {
    engine.name == "native"
      ? "train with another WRN_ISA or with --engine blas, and report it together with this output"
      : "train with --engine native, or set OPENBLAS_CORETYPE to an older CPU family"
  }
}

extension ConvolutionKernelTable {
  /// These kernels with one wrong number in every forward pass, to show that a check finds it.
  public func corruptingOneValue() -> ConvolutionKernelTable {
    replacing(forward: { [forward] geometry, microbatches, input, packed, bias, output, scratch in
      forward(geometry, microbatches, input, packed, bias, output, scratch)
      output.activation[0] += 0.01
    })
  }
}
