import Foundation
import Models
import Tensors

/// A quick check of every path of an engine's kernels against the definition, for `doctor`.
///
/// It keeps a defective compiler, emulator or machine from training. It takes a fraction of a second; the tests try more
/// shapes and bound every element.
public struct KernelSelfCheck: Sendable {
  /// The largest error that rounding can explain; the tests hold the kernels to less.
  public static let limit = (relativeL2: 1e-5, maxOverRMS: 1e-4)

  /// One path through the kernels, with a shape and operands that take it.
  struct Path: Sendable {
    let name: String
    let example: ConvolutionExample

    /// Creates a path.
    ///
    /// - Parameters:
    ///   - name: The path in words.
    ///   - images: N.
    ///   - microbatch: Images per microbatch but possibly the last. If `nil`, all images are one microbatch.
    ///   - size: H and W.
    ///   - inputs: C.
    ///   - outputs: K.
    ///   - stride: The stride.
    ///   - kernel: R and S.
    ///   - padding: Rows and columns of zeros on every side. If `nil`, SAME padding.
    ///   - inputTerms: How z comes from x, and the terms of its gradient.
    ///   - gradientTerms: How dY is formed and whether it is saved.
    ///   - addsInPlace: Whether the forward pass adds its result to y.
    init(
      _ name: String, _ images: Int, microbatch: Int? = nil, size: Int, _ inputs: Int, _ outputs: Int,
      stride: Int = 1, kernel: Int = 3, padding: Int? = nil,
      inputTerms: ConvolutionExample.InputTerms = ConvolutionExample.InputTerms(),
      gradientTerms: ConvolutionExample.GradientTerms = .normalized,
      addsInPlace: Bool = false
    ) {
      self.name = name
      let geometry =
        if let padding {
          ConvolutionGeometry(
            inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: kernel,
            stride: stride, padding: padding)
        } else {
          ConvolutionGeometry(
            inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: kernel,
            stride: stride)
        }
      example = ConvolutionExample(
        geometry, MicrobatchRange(imageCount: images, imagesPerMicrobatch: microbatch), maps: .arbitrary,
        inputTerms: inputTerms, gradientTerms: gradientTerms, addsInPlace: addsInPlace)
    }
  }

  // Tiled algorithms, of stride 1 and 2, and pointwise products take all images at once, some at a time, or parts of an
  // image at a time. Tiles cover an image exactly, or the last of them reach beyond it. Direct products, for all other
  // shapes, have whole vectors of channels or not.
  static let paths =
    [
      Path("stem", 1, size: 32, 3, 16), Path("3×3, all images at once", 2, size: 8, 64, 64),
      Path("3×3, some images at a time", 3, size: 16, 32, 32), Path("3×3, parts of an image", 1, size: 32, 16, 32),
      Path("3×3, stride 2, all images at once", 2, size: 16, 32, 64, stride: 2),
      Path("3×3, stride 2, parts of an image", 1, size: 64, 16, 32, stride: 2),
      Path("3×3, stride 2, padded on both sides", 2, size: 16, 32, 32, stride: 2, padding: 1),
      // Weights that are streamed, in panels of every width that they are packed in.
      Path("3×3, large weight", 2, size: 8, 192, 160),
      Path("3×3, stride 2, large weight", 1, size: 16, 192, 160, stride: 2),
      Path("3×3 of odd sizes", 2, size: 7, 20, 24), Path("3×3, stride 2, 12×12", 2, size: 12, 32, 64, stride: 2),
      Path("1×1", 2, size: 8, 32, 48, kernel: 1), Path("1×1, stride 2", 2, size: 8, 32, 64, stride: 2, kernel: 1),
      Path("3×3, tiles beyond the image", 3, size: 6, 32, 64),
      Path("3×3, rows of odd length", 2, size: 7, 48, 16),
      Path("3×3, stride 2, tiles beyond the image", 3, size: 14, 32, 48, stride: 2, padding: 1),
      Path("1×1, parts of an image", 1, size: 32, 64, 64, kernel: 1),
      Path("1×1, stride 2, odd sizes", 3, size: 7, 48, 32, stride: 2, kernel: 1),
      Path("1×1, partial vectors of channels", 2, size: 6, 20, 24, kernel: 1),
    ] + microbatchPaths + operandPaths + dropoutPaths

  // Ranges of several microbatches, each with its own coefficients, the last one smaller.
  private static let microbatchPaths = [
    Path("3×3, several microbatches at once", 5, microbatch: 2, size: 8, 32, 32),
    Path("3×3, several microbatches, some images at a time", 5, microbatch: 3, size: 16, 32, 16),
    Path("3×3, several microbatches, parts of an image", 2, microbatch: 1, size: 32, 16, 16),
    Path("3×3, stride 2, several microbatches at once", 5, microbatch: 2, size: 16, 16, 32, stride: 2),
    Path("3×3, stride 2, several microbatches, some images at a time", 4, microbatch: 3, size: 32, 16, 16, stride: 2),
    Path("3×3 of odd sizes, several microbatches", 3, microbatch: 2, size: 7, 20, 24),
    Path("1×1, several microbatches", 3, microbatch: 2, size: 8, 32, 48, kernel: 1),
    Path("1×1, stride 2, several microbatches", 5, microbatch: 2, size: 8, 32, 48, stride: 2, kernel: 1),
    Path("3×3, several microbatches, tiles beyond the image", 5, microbatch: 2, size: 6, 32, 32),
  ]

  // The operands of residual blocks: dY from every set of terms, saved or not, and sums that are formed in place. The
  // element-wise maps have one loop for whole vectors of channels and one for other shapes.
  private static let operandPaths = [
    (size: 8, more: 0, kernel: 3, "3×3"), (size: 7, more: 0, kernel: 3, "3×3, rows of odd length"),
    (size: 7, more: 4, kernel: 3, "3×3 of odd sizes"), (size: 8, more: 0, kernel: 1, "1×1"),
  ].flatMap { size, more, kernel, name in
    [
      Path(
        "\(name), plain operands", 2, size: size, 32 + more, 16 + more, kernel: kernel, inputTerms: .raw,
        gradientTerms: .plain),
      Path(
        "\(name), saved gradient", 3, microbatch: 2, size: size, 16 + more, 32 + more, kernel: kernel,
        gradientTerms: .normalizedAndSaved),
      Path(
        "\(name), residual add", 3, microbatch: 2, size: size, 32 + more, 32 + more, kernel: kernel,
        gradientTerms: .residualAdd, addsInPlace: true),
      Path(
        "\(name), saved residual add", 3, microbatch: 2, size: size, 16 + more, 16 + more, kernel: kernel,
        gradientTerms: .residualAddAndSaved, addsInPlace: true),
    ]
  }

  // Dropout, and two readers of one normalized tensor: the first leaves its gradient unmasked, the last adds, masks and
  // sums. Each algorithm has its own prologue and epilogue; images are multiples of 16 elements.
  private static let dropoutPaths = [
    (size: 8, inputs: 48, stride: 1, kernel: 3, "3×3"), (size: 16, inputs: 16, stride: 2, kernel: 3, "3×3, stride 2"),
    (size: 6, inputs: 20, stride: 1, kernel: 3, "3×3 of odd sizes"),
    (size: 7, inputs: 48, stride: 1, kernel: 3, "3×3, rows of odd length"),
    (size: 8, inputs: 32, stride: 1, kernel: 1, "1×1"), (size: 7, inputs: 32, stride: 2, kernel: 1, "1×1, stride 2"),
  ].flatMap { size, inputs, stride, kernel, name in
    func path(
      _ operands: String, _ inputTerms: ConvolutionExample.InputTerms
    ) -> Path {
      Path(
        "\(name), \(operands)", 3, microbatch: 2, size: size, inputs, 16, stride: stride, kernel: kernel,
        inputTerms: inputTerms)
    }
    return [
      path("dropout", ConvolutionExample.InputTerms(hasDropout: true)),
      path("first reader", ConvolutionExample.InputTerms(isMasked: false)),
      path("last reader", ConvolutionExample.InputTerms(hasAddend: true)),
      path("first reader with dropout", ConvolutionExample.InputTerms(hasDropout: true, isMasked: false)),
      path("last reader with dropout", ConvolutionExample.InputTerms(hasDropout: true, hasAddend: true)),
      path("reader in between", ConvolutionExample.InputTerms(hasAddend: true, isMasked: false)),
    ]
  }

  private let exact: [ConvolutionResults<Double>]

  /// Computes the exact results of every path.
  public init() { exact = Self.paths.map { $0.example.exactResults() } }

  /// The result of a check that found no mismatch.
  public struct Summary: Sendable {
    /// The largest relative L2 error of any result.
    public let largestError: Double
    /// The path and the operation with that error.
    public let location: String
    /// The number of results that were compared.
    public let comparisonCount: Int
    let results: [ConvolutionResults<Float>]
  }

  /// Runs every path, forward and backward.
  ///
  /// - Parameter engine: The engine to check.
  /// - Returns: The errors found.
  /// - Throws: ``KernelMismatch`` if an error is larger than rounding explains.
  public func callAsFunction(_ engine: any ConvolutionEngine) throws -> Summary {
    var largest = (error: 0.0, location: "")
    var count = 0
    var allResults: [ConvolutionResults<Float>] = []
    for (path, exact) in zip(Self.paths, exact) {
      let results = path.example.results(of: engine)
      for (operation, error) in results.errors(against: exact) {
        let location = "\(path.name), \(operation.rawValue)"
        guard error.relativeL2 <= Self.limit.relativeL2, error.maxOverRMS <= Self.limit.maxOverRMS else {
          throw KernelMismatch(
            "the \(engine.name) kernels for \(engine.instructions) compute wrongly here: \(location) is off by "
              + "\(String(format: "%.1e", error.relativeL2)) of its size, where rounding explains "
              + "\(String(format: "%.0e", Self.limit.relativeL2)); \(KernelMismatch.remedy(engine)).")
        }
        count += 1
        if error.relativeL2 >= largest.error { largest = (error.relativeL2, location) }
      }
      allResults.append(results)
    }
    try checkDropoutMask(engine)
    count += 1
    return Summary(
      largestError: largest.error, location: largest.location, comparisonCount: count,
      results: allResults)
  }

  /// Compares a mask of three groups and a part of a fourth with its specification, bit by bit.
  private func checkDropoutMask(_ engine: any ConvolutionEngine) throws {
    let stream = DropoutStream(seed: 1, purpose: "check", probability: 0.3)
    func mask(_ fill: (UnsafeMutablePointer<UInt16>, Int) -> Void) -> [UInt16] {
      var words = [UInt16](repeating: 0, count: 29)
      words.withUnsafeMutableBufferPointer { words in words.baseAddress.map { fill($0, words.count) } }
      return words
    }
    let exact = mask { stream.fill($0, wordCount: $1, step: 5, sample: 9) }
    guard mask({ engine.fillDropoutMask(stream, $0, wordCount: $1, step: 5, sample: 9) }) == exact else {
      throw KernelMismatch(
        "the \(engine.name) kernels for \(engine.instructions) compute wrongly here: a dropout mask differs from its "
          + "specification; \(KernelMismatch.remedy(engine)).")
    }
  }

  /// Compares the results of two instruction sets bit by bit.
  ///
  /// - Parameters:
  ///   - a: An instruction set and its summary.
  ///   - b: Another instruction set and its summary.
  /// - Throws: ``KernelMismatch`` if any result differs.
  public static func verifyBitwiseEqual(
    _ a: (name: String, summary: Summary), _ b: (name: String, summary: Summary)
  ) throws {
    for (path, (one, other)) in zip(paths, zip(a.summary.results, b.summary.results)) {
      for (mine, theirs) in zip(one.byOperation, other.byOperation)
      where mine.values.map(\.bitPattern) != theirs.values.map(\.bitPattern) {
        throw KernelMismatch(
          "the kernels for \(a.name) and \(b.name) give different bits: \(path.name), \(mine.operation.rawValue); "
            + "set WRN_ISA to the same value on all ranks and report it.")
      }
    }
  }
}

/// Kernels that compute wrong results.
public struct KernelMismatch: Error, CustomStringConvertible {
  /// One sentence: which kernels, in which path, by how much, and the remedy.
  public let description: String

  init(_ description: String) { self.description = description }

  /// The engines that can still train.
  static func remedy(_ engine: any ConvolutionEngine) -> String {
    engine.name == "native"
      ? "train with another WRN_ISA or with --engine blas, and report it together with this output"
      : "train with --engine native, or set OPENBLAS_CORETYPE to an older CPU family"
  }
}

extension ConvolutionKernelTable {
  /// Returns these kernels with one wrong value in every forward pass, to show that a check finds it.
  public func corruptingOneValue() -> ConvolutionKernelTable {
    replacing(forward: { [forward] geometry, microbatches, input, packed, bias, output, scratch, ticks in
      forward(geometry, microbatches, input, packed, bias, output, scratch, ticks)
      output.activation[0] += 0.01
    })
  }
}
