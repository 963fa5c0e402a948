import Models

/// Kernels that do not compute what they should.
public struct KernelDisagreement: Error, CustomStringConvertible {
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
